//! Edits of what a job reads, on a real Kafka: sources under another name, topics and partitions that go and come back,
//! with the process killed around the first plan of the edited job.

use std::collections::BTreeMap;

use super::{
    super::{
        broker::{Broker, Topic, broker, unique_name},
        support::{Place, START_MS, blocks},
    },
    POINTS, killed,
};

/// A job that logs the records of `sources`, tables with `KAFKA` for kind and brokers, all united.
fn job(broker: &Broker, sources: &str, head: &str) -> String {
    let sources = sources.replace("KAFKA", &format!("kind = \"kafka\"\nbrokers = \"{}\"", broker.brokers));
    let names: Vec<&str> =
        sources.lines().filter_map(|line| line.strip_prefix("[sources.")?.strip_suffix("]")).collect();
    let mut steps = format!("[[steps]]\nfrom = \"{}\"\n", names[0]);
    match names[1..] {
        [] => steps.push_str("filter = \"lambda record: True\"\n"),
        ref others => steps.push_str(&format!("union = {others:?}\n")),
    }
    format!(
        "name = \"moved\"\nbatch_interval = \"1s\"\ncheckpoint_dir = \"checkpoint\"\ntime_zone = \"UTC\"\n{head}{sources}{steps}\
         [[steps]]\nmap = \"lambda record: record.value\"\n[[steps]]\npprint = {{ num = 1000, to = \"out.log\" }}\n"
    )
}

fn lines(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|nth| format!("{prefix}{nth}")).collect()
}

/// How often each line is in the log.
fn shown(place: &Place) -> BTreeMap<String, usize> {
    let mut shown = BTreeMap::new();
    for line in blocks(&place.read("out.log")).into_iter().flat_map(|block| block.lines) {
        *shown.entry(line).or_default() += 1;
    }
    shown
}

fn times(of: &[(&[String], usize)]) -> BTreeMap<String, usize> {
    of.iter().flat_map(|(lines, times)| lines.iter().map(|line| (line.clone(), *times))).collect()
}

/// Source, topic partition, start and end of every range that reads something.
fn ranges(place: &Place) -> Vec<(String, i64, i64)> {
    let of = |batch: &serde_json::Value| batch["ranges"].as_array().cloned().unwrap_or_default();
    let range = |range: &serde_json::Value| {
        let offset = |key: &str| range[key].as_i64().expect("an offset");
        (range["source"].as_str().expect("a source").to_owned(), offset("start"), offset("until"))
    };
    let all = place.ledger().iter().flat_map(of).map(|found| range(&found)).collect::<Vec<_>>();
    all.into_iter().filter(|(_, start, until)| start < until).collect()
}

const ACCEPTED: &str = "--until-caught-up --accept-changes";

fn accepted(place: &Place, point: Option<&str>) {
    match point {
        Some(point) => killed(place, point, ACCEPTED),
        None => drop(place.kstream(&format!("run job.toml --manual-clock {START_MS} {ACCEPTED}")).expect(0)),
    }
}

fn points() -> impl Iterator<Item = Option<&'static str>> {
    POINTS.into_iter().map(Some).chain([None])
}

/// 300 records in one partition.
fn three_batches(broker: &Broker) -> (Topic, Vec<String>) {
    let topic = broker.topic("moved", 1);
    let all = lines("l", 300);
    broker.produce(topic.name(), 0, &all);
    (topic, all)
}

fn named(broker: &Broker, source: &str, topic: &str) -> String {
    let table = format!("[sources.{source}]\nKAFKA\ntopics = [\"{topic}\"]\nmax_records_per_partition = 100\n");
    job(broker, &table, "")
}

#[test]
fn a_source_under_another_name_reads_all_once_more_and_no_more_than_that() {
    let Some(broker) = broker() else { return };
    for point in points() {
        let (topic, all) = three_batches(broker);
        let [x, z] = ["x", "z"].map(|source| named(broker, source, topic.name()));
        let place = Place::with_job(&x);
        place.catch_up();
        place.write("job.toml", &z);
        let told = format!("source `z` reads topic `{}` from its own `start` on", topic.name());
        place.kstream("run job.toml --until-caught-up").expect(3).says(&[
            "Source `x` is gone",
            &told,
            "--accept-changes",
        ]);
        accepted(&place, point);
        place.catch_up();
        place.catch_up();
        let expected: Vec<_> = ["x", "z"]
            .into_iter()
            .flat_map(|source| [0, 100, 200].map(|start| (source.to_owned(), start, start + 100)))
            .collect();
        assert_eq!(ranges(&place), expected, "{point:?}");
        assert_eq!(shown(&place), times(&[(&all, 2)]), "{point:?}");
        place.kstream("replay job.toml --verify --from 3").expect(0);
        place.kstream("replay job.toml --batch 0").expect(3).says(&["Source `x`", "is gone from the job file"]);
        let more = lines("more", 10);
        broker.produce(topic.name(), 0, &more);
        place.catch_up();
        assert_eq!(shown(&place), times(&[(&all, 2), (&more, 1)]), "{point:?}");

        // Back before the edit, both ways are open.
        for (text, more_args, of_all) in [(&x, "", 1), (&z, " --accept-changes", 2)] {
            place.kstream("rewind job.toml --to 2 --yes").expect(0);
            place.write("job.toml", text);
            place.kstream(&format!("run job.toml --manual-clock {START_MS} --until-caught-up{more_args}")).expect(0);
            assert_eq!(shown(&place), times(&[(&all, of_all), (&more, 1)]), "{point:?}{more_args}");
            place.catch_up();
        }
    }
}

#[test]
fn a_topic_or_partition_that_is_taken_out_is_given_up_once_and_for_good() {
    let Some(broker) = broker() else { return };
    let cases = [
        ("topics = [\"A\"]", "topics = [\"B\"]"),
        ("topics = [\"B\", \"A\"]", "topics = [\"B\"]"),
        ("assign = { A = [0], B = [0] }", "assign = { B = [0] }"),
        ("assign = { B = [0, 1] }", "assign = { B = [0] }"),
        ("topic_pattern = \"A|B\"", "topic_pattern = \"B\""),
        ("topics = [\"B\", \"A\"]", "topic_pattern = \"B(-x)?\""),
    ];
    for (nth, point) in (0..cases.len()).flat_map(|nth| [(nth, nth % 5), (nth, (nth + 2) % 5)]) {
        let (before, after) = cases[nth];
        let point = points().nth(point).expect("a point");
        let fetch = ["native", "librdkafka"][nth % 2];
        let case = format!("{before} -> {after}, {fetch}, {point:?}");
        let [a, b] = ["a", "b"].map(|name| broker.topic(name, 2));
        let of = |selection: &str| {
            let selection = selection.replace('A', a.name()).replace('B', b.name());
            job(broker, &format!("[sources.s]\nKAFKA\nfetch = \"{fetch}\"\n{selection}\n"), "")
        };
        // What goes is the topic or the partition that is only read before.
        let (goes, partition) = if before.contains("[0, 1]") { (&b, 1) } else { (&a, 0) };
        let (gone, kept) = (lines("gone", 100), lines("kept", 50));
        broker.produce(goes.name(), partition, &gone);
        broker.produce(b.name(), 0, &kept);
        let place = Place::with_job(&of(before));
        place.catch_up();
        let batches = place.ledger().len();
        place.write("job.toml", of(after));
        place.kstream("run job.toml --until-caught-up").expect(3).says(&["--accept-changes"]);
        accepted(&place, point);
        // It is durable: nobody asks again, though there was nothing to read, and nothing is lost.
        let again = place.catch_up();
        assert!(!again.err.contains("dropping") && !again.err.contains("any more"), "{case}: {}", again.err);
        assert_eq!(place.ledger().len(), batches + 1, "{case}: one batch holds what was accepted");
        assert_eq!(shown(&place), times(&[(&gone, 1), (&kept, 1)]), "{case}");
        let (unread, more) = (lines("unread", 10), lines("more", 20));
        broker.produce(goes.name(), partition, &unread);
        broker.produce(b.name(), 0, &more);
        place.catch_up();
        assert_eq!(shown(&place), times(&[(&gone, 1), (&kept, 1), (&more, 1)]), "{case}");
        assert!(place.ledger().iter().all(|batch| batch["lost"].as_array().is_none_or(Vec::is_empty)), "{case}");
        place.kstream("replay job.toml --verify").expect(0);
        place.kstream("replay job.toml --batch 0").expect(3).says(&["no longer reads", goes.name()]);

        // It comes back by another edit, and begins at `start`.
        place.write("job.toml", of(before));
        accepted(&place, point);
        place.catch_up();
        let all = [(&gone[..], 2), (&unread, 1), (&kept, 1), (&more, 1)];
        assert_eq!(shown(&place), times(&all), "{case}");
        place.kstream("replay job.toml --verify").expect(0);

        // Before the edit, the job of that time goes on where it was, and so does the edited one.
        let last = batches - 1;
        place.kstream(&format!("rewind job.toml --to {last} --yes")).expect(0);
        place.catch_up();
        let of_both = usize::from(before.contains('B'));
        let as_it_was = times(&[(&gone, 1), (&unread, 1), (&kept, of_both), (&more, of_both)]);
        assert_eq!(shown(&place), as_it_was.into_iter().filter(|(_, times)| *times > 0).collect(), "{case}: as it was");
        place.kstream(&format!("rewind job.toml --to {last} --yes")).expect(0);
        place.write("job.toml", of(after));
        accepted(&place, point);
        place.catch_up();
        assert_eq!(shown(&place), times(&[(&gone, 1), (&kept, 1), (&more, 1)]), "{case}: edited again");
    }
}

#[test]
fn a_live_job_gives_a_topic_up_at_its_first_batch() {
    let Some(broker) = broker() else { return };
    let [a, b] = ["a", "b"].map(|name| broker.topic(name, 1));
    let group = unique_name("lag");
    let of = |topics: &[&str]| {
        let table = format!("[sources.s]\nKAFKA\ntopics = {topics:?}\n");
        job(broker, &table, &format!("mirror_offsets_to = \"{group}\"\n"))
    };
    broker.produce(a.name(), 0, lines("a", 30));
    let place = Place::with_job(&of(&[a.name()]));
    place.kstream("run job.toml --max-batches 1").expect(0);
    place.write("job.toml", of(&[b.name()]));
    broker.produce(a.name(), 0, lines("unread", 30));
    broker.produce(b.name(), 0, lines("b", 40));
    place.kstream("run job.toml --max-batches 1").expect(3);
    place.kstream("run job.toml --max-batches 1 --accept-changes").expect(0);
    place.kstream("run job.toml --max-batches 2").expect(0);
    assert_eq!(shown(&place), times(&[(&lines("a", 30), 1), (&lines("b", 40), 1)]));
    let mirrored = |topic: &Topic| broker.group_offsets(&group, topic.name(), 1);
    assert_eq!((mirrored(&a), mirrored(&b)), (vec![Some(30)], vec![Some(40)]), "the group keeps what it was told last");
}

#[test]
fn a_partition_that_is_assigned_later_begins_at_start() {
    let Some(broker) = broker() else { return };
    for (start, skipped) in [("{ T = { \"1\" = 15 } }", 15), ("\"latest\"", 20), ("\"earliest\"", 0)] {
        let topic = broker.topic("assigned", 2);
        let of = |partitions: &str, start: &str| {
            let table = format!("[sources.s]\nKAFKA\nassign = {{ T = {partitions} }}\nstart = {start}\n");
            job(broker, &table.replace('T', topic.name()), "")
        };
        let [first, second, more] = ["first", "second", "more"].map(|prefix| lines(prefix, 20));
        broker.produce(topic.name(), 0, &first);
        broker.produce(topic.name(), 1, &second);
        let place = Place::with_job(&of("[0]", "\"earliest\""));
        place.catch_up();
        place.write("job.toml", of("[0, 1]", start));
        place.catch_up();
        // Where it begins is kept, also where there was nothing to read yet.
        broker.produce(topic.name(), 1, &more);
        place.catch_up();
        assert_eq!(shown(&place), times(&[(&first, 1), (&second[skipped..], 1), (&more, 1)]), "{start}");
        place.kstream("replay job.toml --verify").expect(0);
    }
}

#[test]
fn two_rewinds_find_what_one_finds() {
    let Some(broker) = broker() else { return };
    for by in [&["0"][..], &["2", "0"], &["2", "1", "0"]] {
        let [x, y] = ["x", "y"].map(|name| broker.topic(name, 1));
        let of = |topics: &[&Topic]| {
            let names: Vec<&str> = topics.iter().map(|topic| topic.name()).collect();
            let keys = "start = \"latest\"\nmax_records_per_partition = 2";
            job(broker, &format!("[sources.s]\nKAFKA\ntopics = {names:?}\n{keys}\n"), "")
        };
        let place = Place::with_job(&of(&[&x]));
        broker.produce(x.name(), 0, lines("early", 4));
        broker.produce(y.name(), 0, lines("early", 4));
        place.catch_up();
        let [first, second] = ["first", "second"].map(|prefix| lines(prefix, 4));
        broker.produce(x.name(), 0, &first);
        place.catch_up();
        place.write("job.toml", of(&[&x, &y]));
        place.catch_up();
        let [third, later] = ["third", "later"].map(|prefix| lines(prefix, 4));
        broker.produce(x.name(), 0, &second);
        broker.produce(y.name(), 0, &third);
        place.catch_up();
        let log = shown(&place);
        assert_eq!(log, times(&[(&first, 1), (&second, 1), (&third, 1)]));
        broker.produce(y.name(), 0, &later);
        for to in by {
            place.kstream(&format!("rewind job.toml --to {to} --yes")).expect(0);
        }
        place.catch_up();
        assert_eq!(shown(&place), times(&[(&first, 1), (&second, 1), (&third, 1), (&later, 1)]), "{by:?}");
    }
}

#[test]
fn a_topic_that_was_given_up_and_came_back_stands_where_each_rewind_says() {
    let Some(broker) = broker() else { return };
    let [a, t] = ["a", "t"].map(|name| broker.topic(name, 1));
    let of = |topics: &[&Topic]| {
        let names: Vec<&str> = topics.iter().map(|topic| topic.name()).collect();
        job(broker, &format!("[sources.s]\nKAFKA\ntopics = {names:?}\nmax_records_per_partition = 2\n"), "")
    };
    let (both, only) = (of(&[&a, &t]), of(&[&a]));
    let [first, second] = ["a", "t"].map(|prefix| lines(prefix, 10));
    broker.produce(a.name(), 0, &first);
    broker.produce(t.name(), 0, &second);
    for by in [&["1"][..], &["3", "1"], &["3", "2", "0"], &["4", "3", "1"]] {
        let place = Place::with_job(&both);
        let run = |more: &str| {
            place.kstream(&format!("run job.toml --manual-clock {START_MS} --until-caught-up {more}")).expect(0)
        };
        run("--max-batches 3");
        place.write("job.toml", &only);
        run("--max-batches 1 --accept-changes");
        place.write("job.toml", &both);
        run("--max-batches 1");
        for to in by {
            place.kstream(&format!("rewind job.toml --to {to} --yes")).expect(0);
        }
        place.catch_up();
        assert_eq!(shown(&place), times(&[(&first, 1), (&second, 1)]), "{by:?}");
        place.kstream("replay job.toml --verify").expect(0);
    }
}

#[test]
fn one_of_two_sources_drops_a_topic_that_the_other_goes_on_with() {
    let Some(broker) = broker() else { return };
    for point in points() {
        let [t, u] = ["t", "u"].map(|name| broker.topic(name, 1));
        // To the job two names of one broker are two clusters.
        let elsewhere = broker.brokers.replace("127.0.0.1", "localhost");
        assert_ne!(elsewhere, broker.brokers);
        let of = |topic: &Topic| {
            format!(
                "[sources.a]\nKAFKA\ntopics = [\"{}\"]\n[sources.b]\nkind = \"kafka\"\nbrokers = \"{elsewhere}\"\n\
                 topics = [\"{}\"]\n",
                topic.name(),
                t.name()
            )
        };
        let both = lines("both", 20);
        broker.produce(t.name(), 0, &both);
        let place = Place::with_job(&job(broker, &of(&t), ""));
        place.catch_up();
        place.write("job.toml", job(broker, &of(&u), ""));
        accepted(&place, point);
        let (only, other) = (lines("only", 5), lines("other", 7));
        broker.produce(t.name(), 0, &only);
        broker.produce(u.name(), 0, &other);
        place.catch_up();
        place.catch_up();
        assert_eq!(shown(&place), times(&[(&both, 2), (&only, 1), (&other, 1)]), "{point:?}");
        place.kstream("replay job.toml --verify").expect(0);
    }
}

#[test]
fn a_batch_in_flight_is_read_by_the_sources_that_planned_it() {
    let Some(broker) = broker() else { return };
    // The source has another name.
    let (topic, all) = three_batches(broker);
    let place = Place::with_job(&named(broker, "x", topic.name()));
    killed(&place, "plan: logged", "--until-caught-up");
    place.write("job.toml", named(broker, "z", topic.name()));
    accepted(&place, None);
    place.catch_up();
    assert_eq!(shown(&place), times(&[(&all[..100], 2), (&all[100..], 1)]));
    assert_eq!(ranges(&place)[..2], [("x".to_owned(), 0, 100), ("z".to_owned(), 0, 100)]);

    // The topic is gone, or one of two sources, or they stand in another order.
    let [l, r] = ["l", "r"].map(|name| broker.topic(name, 1));
    let (left, right) = (lines("left", 10), lines("right", 10));
    broker.produce(l.name(), 0, &left);
    broker.produce(r.name(), 0, &right);
    let table = |name: &str, topic: &Topic| format!("[sources.{name}]\nKAFKA\ntopics = [\"{}\"]\n", topic.name());
    let of = |tables: &[String]| job(broker, &tables.concat(), "");
    let both = of(&[table("l", &l), table("r", &r)]);
    for (before, after) in [
        (of(&[table("l", &l)]), of(&[table("l", &r)])),
        (both.clone(), of(&[table("l", &l)])),
        (both, of(&[table("r", &r), table("l", &l)])),
    ] {
        let place = Place::with_job(&before);
        killed(&place, "plan: logged", "--until-caught-up");
        place.write("job.toml", &after);
        accepted(&place, None);
        place.catch_up();
        assert_eq!(shown(&place), times(&[(&left, 1), (&right, 1)]), "{before}\n{after}");
    }
}
