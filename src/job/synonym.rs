//! Keys as Spark, Kafka's clients and other tools call them, and what they are called here.

/// The key that may have been meant, of those that are known where the word stands.
pub fn synonym<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let folded: String = word.chars().filter(|char| char.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    let keys = SYNONYMS.iter().filter(|(_, words)| words.contains(&folded.as_str())).map(|(key, _)| *key);
    keys.into_iter().find_map(|key| known.iter().find(|known| **known == key).copied())
}

/// What to say of a word that has no counterpart among the keys.
pub fn advice(word: &str) -> Option<&'static str> {
    let folded: String = word.chars().filter(|char| char.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    Some(match folded.as_str() {
        "groupid" | "group" | "consumergroup" => "kstream joins no group; `mirror_offsets_to` copies offsets to one",
        "foreachrdd" | "foreach" | "foreachbatch" | "foreachpartition" | "output" | "sink" | "write" => {
            "an output is a step: `pprint`, `save_as_text_files`, `to_file`, `to_kafka` or `command`"
        }
        "enableautocommit" | "autocommit" | "commit" => "offsets are committed with the batch, in the checkpoint",
        "cache" | "persist" | "unpersist" | "broadcast" => "there is nothing to cache: a step is computed once a batch",
        "slice" => "`kstream replay JOB --from ID --to ID` computes committed batches again",
        "sortbykey" => "write `sort_by = \"lambda kv: kv[0]\"`; results by key come in key order anyway",
        "top" | "takeordered" => "write `sort_by = { key = \"...\", descending = true }`, then a step `take = N`",
        "master" | "executor" | "executors" | "cores" | "cluster" => "kstream is one process; see `run --threads`",
        "threads" | "parallelism" => "threads are no part of the job: `kstream run --threads N`",
        "loglevel" | "logging" | "log" => "the log is no part of the job: `KSTREAM_LOG=debug`, or `-v`",
        _ => return None,
    })
}

/// By key; the words without case, dots and underscores.
const SYNONYMS: &[(&str, &[&str])] = &[
    ("name", &["appname", "jobname", "title", "app", "application"]),
    ("batch_interval", &["interval", "batchduration", "batch", "trigger", "triggerinterval", "processingtime"]),
    ("checkpoint_dir", &["checkpoint", "checkpoints", "checkpointdirectory", "checkpointlocation", "checkpointpath"]),
    ("shuffle_partitions", &["partitions", "numpartitions", "defaultparallelism"]),
    ("memory_limit", &["memory", "maxmemory", "drivermemory", "executormemory"]),
    ("time_zone", &["tz", "zone"]),
    ("steps", &["pipeline", "stages", "transformations", "operators", "tasks", "outputs"]),
    ("source", &["input", "kafka", "stream"]),
    ("sources", &["inputs", "streams"]),
    ("kind", &["type"]),
    (
        "brokers",
        &["bootstrapservers", "bootstrap", "servers", "server", "brokerlist", "metadatabrokerlist", "hosts", "host"],
    ),
    ("topics", &["subscribe", "topiclist"]),
    ("topic_pattern", &["subscribepattern", "pattern", "topicregex"]),
    ("start", &["startingoffsets", "startingoffset", "autooffsetreset", "offset", "offsets", "fromoffsets", "from"]),
    (
        "max_records_per_partition",
        &["maxrateperpartition", "maxoffsetspertrigger", "maxrecords", "maxrate", "limit", "maxpollrecords"],
    ),
    ("back_pressure", &["backpressureenabled", "streamingbackpressureenabled"]),
    ("on_data_loss", &["failondataloss", "dataloss"]),
    ("isolation", &["isolationlevel"]),
    ("value_format", &["format", "valuedeserializer", "deserializer", "encoding"]),
    ("key_format", &["keydeserializer"]),
    ("properties", &["options", "config", "conf", "settings", "kafkaparams", "params", "property"]),
    ("on_error", &["onfailure", "errors", "onexception"]),
    ("dead_letter", &["deadletters", "deadletterqueue", "dlq"]),
    ("mirror_offsets_to", &["mirror", "mirroroffsets"]),
    ("func", &["function", "fn", "f", "lambda", "reducefunc", "updatefunc"]),
    ("inverse", &["invfunc", "inversefunc", "invreducefunc", "inv"]),
    ("length", &["window", "windowlength", "windowduration", "duration", "size"]),
    ("slide", &["slideduration", "slideinterval", "interval", "every", "step"]),
    ("partitions", &["numpartitions", "num"]),
    ("initial", &["initialstate", "initialrdd", "state"]),
    ("timeout", &["ttl", "expire", "expiry"]),
    ("descending", &["desc", "reverse", "ascending", "asc"]),
    ("with", &["other", "right", "others", "step"]),
    ("num", &["n", "count", "lines", "limit"]),
    ("to", &["file", "path", "log", "output"]),
    ("path", &["file", "filename", "to", "dir", "directory", "prefix", "url"]),
    ("prefix", &["path", "dir", "directory", "file"]),
    ("run", &["cmd", "command", "args", "exec", "program"]),
    ("topic", &["topics", "totopic"]),
    ("file", &["path", "filename"]),
    ("code", &["text", "source", "python", "def", "body"]),
    ("lines", &["file", "path", "data"]),
    ("batches", &["count", "num", "keep"]),
    ("from", &["input", "source", "inputs", "stream", "parent", "after"]),
    ("pprint", &["show", "println", "console", "display"]),
    ("command", &["exec", "shell", "pipe", "script"]),
    ("to_file", &["save", "writefile", "tofiles", "saveasfile"]),
    ("to_kafka", &["kafka", "produce", "writekafka", "writetokafka"]),
    ("filter", &["where", "keepif"]),
    ("map", &["select", "withcolumn", "apply"]),
    ("flat_map", &["explode", "bind"]),
    ("group_by_key", &["groupby", "group"]),
    ("sort_by", &["sort", "orderby", "sortbykey", "sorted"]),
    ("take", &["limit", "head", "first", "top"]),
    ("count_by_value", &["valuecounts", "histogram"]),
    ("update_state_by_key", &["updatestate", "state", "stateful"]),
    ("map_with_state", &["mapgroupswithstate", "flatmapgroupswithstate"]),
    ("combine_by_key", &["aggregatebykey", "aggregate", "foldbykey"]),
    ("distinct", &["unique", "dropduplicates"]),
    ("repartition", &["coalesce"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_other_tools_lead_to_keys_that_are_known_here() {
        let check = |word, known: &[&'static str], expected| assert_eq!(synonym(word, known), expected, "{word}");
        check("bootstrap.servers", &["kind", "brokers"], Some("brokers"));
        check("bootstrap_servers", &["kind", "brokers"], Some("brokers"));
        check("startingOffsets", &["start"], Some("start"));
        check("window", &["func", "length"], Some("length"));
        check("orderBy", &["map", "sort_by"], Some("sort_by"));
        check("bootstrap.servers", &["topic"], None);
        check("zzz", &["map"], None);
        assert!(advice("group.id").is_some() && advice("foreachRDD").is_some() && advice("map").is_none());
    }

    #[test]
    fn no_word_is_a_key_of_its_own_table() {
        for (key, words) in SYNONYMS {
            assert!(!words.contains(&key.replace('_', "").as_str()), "{key}");
            for word in *words {
                let folded = word.chars().all(|char| char.is_ascii_lowercase() || char.is_ascii_digit());
                assert!(folded, "{word}");
            }
        }
    }
}
