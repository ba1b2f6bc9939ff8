//! The DStream cases of the file, a test each. A test is named as its case, with `_` for `.`.

/// The tests of each category, and [`NAMED`]: the names by category.
macro_rules! cases {
    ($($module:ident = $category:literal { $($name:ident)* })*) => {
        pub const NAMED: &[(&str, &[&str])] = &[$(($category, &[$(stringify!($name)),*])),*];
        $(mod $module {
            $(#[test]
            fn $name() {
                super::super::check($category, stringify!($name));
            })*
        })*
    };
}

cases! {
    dstream = "dstream" {
        context_slice
        context_transform_many
        probe_fullOuterJoin_duplicates
        probe_wordcount
        py_cogroup
        py_combineByKey_concat
        py_count
        py_flatMap_x_2x
        py_fullOuterJoin
        py_glom_2parts
        py_groupByKey
        py_join
        py_leftOuterJoin
        py_mapValues_add10
        py_reduce_add
        py_reduceByKey_mixed_keys
        py_repartition1_glom
        py_union_uneven
        sc_cogroup
        sc_context_union3
        sc_filter
        sc_fullOuterJoin
        sc_join
        sc_leftOuterJoin
        sc_reduce
        sc_reduceByKey
        sc_repartition_fewer
        sc_rightOuterJoin
        sc_transform_map
        sc_transformWith_join
        sc_union_self_mapped
    }
    dstream_window = "dstream-window" {
        probe_countByWindow_leading_empty
        probe_group_by_key_then_window_values
        probe_rbkw_inv_filter_reenter
        probe_reduceByWindow_inv
        probe_reduceByWindow_min_noInv
        probe_reduceByWindow_noInv
        probe_window_then_reduceByKey
        probe_window3_slide2
        py_countByValueAndWindow5
        py_countByWindow3
        py_groupByKeyAndWindow3
        py_window3_count
        sc_countByValueAndWindow
        sc_countByWindow
        sc_groupByKeyAndWindow
        sc_rbkw_inv_basic_reduction
        sc_rbkw_inv_big_test
        sc_rbkw_inv_key_already_in_window
        sc_rbkw_inv_key_removed
        sc_rbkw_inv_larger_slide
        sc_rbkw_inv_new_key_added
        sc_window_slide_gt_window
    }
    dstream_state = "dstream-state" {
        probe_mapWithState_emit_per_record
        py_updateStateByKey_append_list
        sc_mapWithState_initial_no_output
        sc_mapWithState_key_doubled
        sc_mapWithState_running_sum
        sc_updateStateByKey_batch_time
        sc_updateStateByKey_expiry
        sc_updateStateByKey_initial
    }
    rate = "rate" {
        kafka_limit_initial_rate_a
        kafka_limit_initial_rate_b
        kafka_limit_no_backpressure
        kafka_limit_no_lag
        kafka_limit_respects_max
        rate_pid_defaults_backlog
        rate_pid_increasing
        rate_pid_same_time
    }
    timer = "timer" {
        timer_graceful_stop_one_more
        timer_ticks
    }
    source = "source" {
        source_file_new_only
        source_queue_all
        source_text_files_int
    }
    format = "format" {
        format_console_sink
        format_pprint_python
        format_print_scala
        format_save_as_text_files
    }
    lifecycle = "lifecycle" {
        lifecycle_failure_reasons
        lifecycle_listener_batch_info
        lifecycle_rules
        lifecycle_window_validation
    }
}
