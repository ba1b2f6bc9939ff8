//! The programs that count the same words: what each promises, how it is started, how its counts are read.

use std::{
    collections::BTreeMap,
    error::Error,
    fs, io,
    path::{Path, PathBuf},
};

use clap::ValueEnum;

use crate::counts::{self, Counts};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    Kstream,
    Reference,
    KafkaStreams,
    SparkDstreams,
    Bytewax,
    SparkStructured,
    Flink,
}

impl Engine {
    pub const ALL: [Engine; 7] = [
        Engine::Kstream,
        Engine::Reference,
        Engine::KafkaStreams,
        Engine::SparkDstreams,
        Engine::Bytewax,
        Engine::SparkStructured,
        Engine::Flink,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Engine::Kstream => "kstream",
            Engine::Reference => "reference",
            Engine::KafkaStreams => "kafka-streams",
            Engine::SparkDstreams => "spark-dstreams",
            Engine::Bytewax => "bytewax",
            Engine::SparkStructured => "spark-structured",
            Engine::Flink => "flink",
        }
    }

    /// What people call it, in the version that runs.
    pub fn title(self, version: &str) -> String {
        match self {
            Engine::Kstream => format!("kstream {version}"),
            Engine::Reference => format!("hand-written on librdkafka {version}"),
            Engine::KafkaStreams => format!("Kafka Streams {version}"),
            Engine::SparkDstreams => format!("Spark DStreams {version}"),
            Engine::Bytewax => format!("Bytewax {version}, combined by hand"),
            Engine::SparkStructured => format!("Spark Structured Streaming {version}"),
            Engine::Flink => format!("Flink SQL {version}, mini-batch"),
        }
    }

    /// What its counts are worth after a crash, as it is set up here.
    pub fn guarantee(self) -> &'static str {
        match self {
            Engine::Kstream => "exactly-once log, durable commits",
            Engine::Reference | Engine::Bytewax => "none",
            Engine::KafkaStreams => "exactly once v2, commit 1 s",
            Engine::SparkDstreams => "none; offsets after the output",
            Engine::SparkStructured => "at least once, checkpointed",
            Engine::Flink => "at least once, checkpoint 1 s",
        }
    }

    /// Whether it has to be installed first.
    pub fn is_peer(self) -> bool {
        !matches!(self, Engine::Kstream | Engine::Reference)
    }

    /// Its counts in a file of lines, each batch's own or running ones; Kafka Streams writes to a topic.
    pub fn output(self) -> Output {
        match self {
            Engine::Kstream => Output::Log,
            Engine::Reference | Engine::SparkDstreams => Output::Sums,
            Engine::Bytewax | Engine::SparkStructured | Engine::Flink => Output::Latest,
            Engine::KafkaStreams => Output::Topic,
        }
    }
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// kstream's log of batches.
    Log,
    /// Lines that are to be added up.
    Sums,
    /// Lines of which the last one of a word holds.
    Latest,
    /// Big-endian numbers in a topic, of which the last one of a word holds.
    Topic,
}

impl Output {
    /// Reads what stands in a file; what stands in a topic is read elsewhere.
    pub fn read(self, path: &Path) -> Result<Counts, Box<dyn Error>> {
        if self == Output::Log {
            return counts::read_log(path);
        }
        let mut found = BTreeMap::new();
        for line in fs::read_to_string(path)?.lines() {
            let (word, count) = line.split_once('\t').ok_or_else(|| format!("no tab in {line:?}"))?;
            let count: u64 = count.parse()?;
            let known: &mut u64 = found.entry(word.to_owned()).or_default();
            *known = if self == Output::Sums { *known + count } else { count };
        }
        Ok(found)
    }
}

/// An engine that was installed: its directory, with a program `start` and the file `version` in it.
#[derive(Debug, Clone)]
pub struct Installed {
    pub engine: Engine,
    pub dir: PathBuf,
}

impl Installed {
    pub fn version(&self) -> io::Result<String> {
        Ok(fs::read_to_string(self.dir.join("version"))?.trim().to_owned())
    }
}

/// `ENGINE=DIRECTORY`.
pub fn installed(text: &str) -> Result<Installed, String> {
    let (name, dir) = text.split_once('=').ok_or("ENGINE=DIRECTORY is asked for")?;
    Ok(Installed { engine: Engine::from_str(name, false)?, dir: dir.into() })
}
