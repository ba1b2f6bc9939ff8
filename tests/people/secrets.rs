//! A canary in every place for a secret: it never comes to light, whatever is asked and whatever fails.

use std::{collections::BTreeMap, fs, net::TcpListener, path::Path, thread};

use super::{COUNTED, bounded, embedded};
use crate::{
    broker::{NewRecord, broker, unique_name},
    run::{sums, truth},
    support::{Ended, Place},
};

/// Every property for which a job must refer to a secret, and the one that holds a token.
const SECRETS: &[&str] = &[
    "sasl.password",
    "ssl.key.password",
    "ssl.keystore.password",
    "ssl.key.pem",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.jaas.config",
    "ssl.truststore.password",
    "sasl.oauthbearer.assertion.private.key.passphrase",
];

/// Properties that librdkafka takes and does not use on a plaintext connection.
const UNUSED: &[&str] = &["sasl.password", "ssl.key.password", "ssl.keystore.password", "sasl.oauthbearer.config"];

/// Secrets of their own for some properties: the text of the properties, and what must never be seen.
struct Canaries {
    properties: String,
    environment: BTreeMap<String, String>,
    values: Vec<String>,
}

/// Each by environment and by file in turn; the files lie outside of the job's directory.
fn canaries(of: &[&str], role: &str, files: &Path) -> Canaries {
    let mut canaries = Canaries { properties: String::new(), environment: BTreeMap::new(), values: Vec::new() };
    for (at, name) in of.iter().enumerate() {
        let value = format!("canary-{role}-{}-{at}", at * 7919 + 104_729);
        let reference = if at % 2 == 0 {
            let variable = format!("CANARY_{}_{at}", role.to_uppercase());
            canaries.environment.insert(variable.clone(), value.clone());
            format!("{{ env = \"{variable}\" }}")
        } else {
            let file = files.join(format!("{role}-{at}"));
            fs::write(&file, format!("{value}\n")).unwrap();
            format!("{{ file = \"{}\" }}", file.display())
        };
        canaries.properties += &format!("\"{name}\" = {reference}, ");
        canaries.values.push(value);
    }
    canaries
}

fn scan(bytes: &[u8], values: &[String], place: &str) {
    for value in values {
        let found = bytes.windows(value.len()).any(|window| window == value.as_bytes());
        assert!(!found, "{value} is in {place}:\n{}", String::from_utf8_lossy(bytes));
    }
}

/// Every file below a directory, and what a process printed.
fn scan_all(place: &Place, ended: &[Ended], values: &[String]) -> usize {
    for ended in ended {
        scan(ended.out.as_bytes(), values, &format!("stdout of {}", ended.what));
        scan(ended.err.as_bytes(), values, &format!("stderr of {}", ended.what));
    }
    let (mut dirs, mut files) = (vec![place.path("")], 0);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                scan(&fs::read(&path).unwrap(), values, &path.display().to_string());
                files += 1;
            }
        }
    }
    files
}

/// Everything that can be asked of a job, as talkative as it gets.
const LOUD: &[&str] = &["-vv", "-vv --log-format json"];

fn ask(place: &Place, args: &str, canaries: &[&Canaries]) -> Ended {
    let mut command = place.command(args);
    command.env("KSTREAM_LOG", "trace").env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full");
    for canaries in canaries {
        command.envs(&canaries.environment);
    }
    place.spawn(command).wait()
}

#[test]
fn no_secret_comes_to_light_in_a_job_that_runs() {
    let outside = tempfile::tempdir().unwrap();
    let canaries = canaries(UNUSED, "source", outside.path());
    let place = Place::with_job("");
    let steps = format!("{COUNTED}[[steps]]\ncommand = \"cat > told\"\n[[steps]]\npprint = 3\n");
    embedded(&place, 100, 2, &format!("properties = {{ {} }}", canaries.properties.trim_end_matches(", ")), &steps);
    let mut ended = Vec::new();
    for loud in LOUD {
        for (args, code) in [
            ("check job.toml", 0),
            ("explain job.toml", 0),
            (&*format!("{} --progress progress.jsonl", bounded()), 0),
            ("batches job.toml", 0),
            ("batches job.toml -o json", 0),
            ("replay job.toml --verify", 0),
            ("replay job.toml --batch 7000", 2),
            ("rewind job.toml --to 7000 --yes", 2),
            ("run job.toml --set source.kind=none", 2),
            ("run job.toml --until-caught-up --set name=other", 3),
        ] {
            let asked = ask(&place, &format!("{args} {loud}"), &[&canaries]);
            ended.push(asked.expect(code));
        }
    }
    assert!(!place.read("out.log").is_empty() && !place.read("progress.jsonl").is_empty());
    let files = scan_all(&place, &ended, &canaries.values);
    assert!(files >= 6, "only {files} files");
    // The same search finds what is there.
    assert!(place.files("checkpoint").iter().any(|(_, bytes)| String::from_utf8_lossy(bytes).contains("people")));
}

/// A place whose job reads from nowhere with `properties`, or reads the embedded broker and writes to nowhere with them.
fn to_nowhere(properties: &str, as_output: bool) -> Place {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = Place::with_job("");
    if as_output {
        let output = format!("[[steps]]\nto_kafka = {{ topic = \"out\", brokers = \"{closed}\", {properties} }}\n");
        embedded(&place, 10, 1, "unreachable_limit = \"1s\"", &(COUNTED.to_owned() + &output));
    } else {
        embedded(&place, 10, 1, &format!("unreachable_limit = \"1s\"\n{properties}"), "");
        let text = place.read("job.toml");
        let source = text.split("[source.embedded]").next().unwrap().replace("\"embedded\"", &format!("\"{closed}\""));
        place.write("job.toml", source + COUNTED);
    }
    place
}

/// What is set beside a secret, so that clients do different things with it.
const BESIDE: &[&str] = &[
    "\"client.id\" = \"c\"",
    "\"security.protocol\" = \"SSL\"",
    "\"security.protocol\" = \"SASL_PLAINTEXT\", \"sasl.mechanism\" = \"OAUTHBEARER\"",
    "\"security.protocol\" = \"SASL_PLAINTEXT\", \"sasl.mechanism\" = \"PLAIN\", \"sasl.username\" = \"me\"",
];

/// One secret in jobs that all end without their brokers. Gives how often the end was about that very property.
fn refused(property: &str, files: &Path) -> usize {
    let canaries = canaries(&[property], &property.replace('.', "_"), files);
    let is_named = |ended: &Ended| usize::from(ended.err.replace('\\', "").contains(&format!("\"{property}\"")));
    let mut refused = 0;
    for beside in BESIDE {
        let properties = format!("properties = {{ {}{beside} }}", canaries.properties);
        for as_output in [false, true] {
            let place = to_nowhere(&properties, as_output);
            let loud = LOUD[usize::from(as_output)];
            let run = format!("{} {loud}", bounded());
            let checked = ask(&place, &format!("check job.toml {loud}"), &[&canaries]);
            // What check takes can only fail for want of brokers.
            let is_refused = checked.code == Some(2);
            let (looked_at, ran) = if is_refused { (2, 2) } else { (0, 6) };
            let ended = [
                checked.expect(looked_at),
                ask(&place, &format!("explain job.toml {loud}"), &[&canaries]).expect(looked_at),
                ask(&place, &run, &[&canaries]).expect(ran),
            ];
            refused += is_named(&ended[2]);
            scan_all(&place, &ended, &canaries.values);
        }
    }
    if refused > 0 {
        let place = Place::with_job("");
        let reference = canaries.properties.trim_end_matches(", ").split_once(" = ").unwrap().1;
        for chore in ["topics list", "topics delete t", "consume t", "produce t"] {
            let mut chore = place.command(&format!("{chore} --brokers 127.0.0.1:1 -vv"));
            chore.args(["-X", &format!("{property}={reference}")]);
            chore.envs(&canaries.environment).env("KSTREAM_LOG", "trace");
            // Refused, or there are no brokers.
            let ended = place.spawn(chore).wait();
            assert!(matches!(ended.code, Some(2 | 6)), "{}", ended.err);
            scan_all(&place, &[ended], &canaries.values);
        }
    }
    refused
}

#[test]
fn no_secret_comes_to_light_when_a_client_refuses_it() {
    let outside = tempfile::tempdir().unwrap();
    let refused: usize = thread::scope(|scope| {
        let threads: Vec<_> =
            SECRETS.iter().map(|property| scope.spawn(|| refused(property, outside.path()))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(refused >= 20, "only {refused} of these clients said which property they do not take");
}

#[test]
fn a_secret_that_cannot_be_read_is_named_and_nothing_else_of_it() {
    let place = Place::with_job("");
    let properties = "properties = { \"sasl.password\" = { file = \"/no/such/file\" } }";
    embedded(&place, 1, 1, properties, COUNTED);
    place.kstream(&bounded()).expect(2).says(&["sasl.password", "/no/such/file", "job.toml:"]);
    embedded(&place, 1, 1, "properties = { \"sasl.password\" = { env = \"NO_SUCH_VARIABLE\" } }", COUNTED);
    place.kstream(&bounded()).expect(2).says(&["sasl.password", "NO_SUCH_VARIABLE", "job.toml:"]);
    place.kstream("check job.toml").expect(2).says(&["sasl.password", "NO_SUCH_VARIABLE", "job.toml:"]);
}

#[test]
fn no_login_written_into_brokers_comes_to_light() {
    let place = Place::with_job("");
    embedded(&place, 1, 1, "", COUNTED);
    let text = place.read("job.toml");
    for brokers in [
        "me:canary@127.0.0.1:1",
        "127.0.0.1:1,SASL_SSL://me:x,canary@127.0.0.1:1",
        "me:the canary@127.0.0.1:1",
        "me:x'canary@127.0.0.1:1",
        "me:x\\\"canary@127.0.0.1:1",
    ] {
        let quoted = format!("source.brokers=\"{brokers}\"");
        for (args, value) in [
            ("run job.toml --until-caught-up --brokers", brokers),
            ("check job.toml --set", &quoted),
            ("topics list --brokers", brokers),
            ("produce lines --brokers", brokers),
            ("consume lines -v --brokers", brokers),
            ("check written.toml --set", "batch_interval=2s"),
        ] {
            place.write("written.toml", text.replace("brokers = \"embedded\"", &format!("brokers = \"{brokers}\"")));
            let mut command = place.command(args);
            command.arg(value);
            let ended =
                place.spawn(command).wait().expect(2).says(&["a login is no part of a broker", "sasl.password"]);
            let said = format!("{}{}", ended.out, ended.err);
            assert!(!said.contains("canary"), "{args} {value}: {said}");
        }
    }
}

#[test]
fn no_secret_of_a_secured_cluster_comes_to_light() {
    let Some(broker) = broker() else { return };
    let (input, output) = (broker.topic("in", 1), broker.topic("out", 1));
    broker.produce_records(input.name(), 0, [NewRecord::value("a b"), NewRecord::value("b")]);
    let outside = tempfile::tempdir().unwrap();
    // Beside the password that is used, some that are not.
    let unused: Vec<&str> = UNUSED.iter().copied().filter(|name| *name != "sasl.password").collect();
    let (of_source, of_output) =
        (canaries(&unused, "source", outside.path()), canaries(&unused, "output", outside.path()));
    let login = |password: &str| {
        format!(
            "\"security.protocol\" = \"SASL_SSL\", \"ssl.ca.location\" = \"{}\", \"sasl.mechanism\" = \"SCRAM-SHA-512\", \
             \"sasl.username\" = \"{}\", \"sasl.password\" = {{ env = \"{password}\" }}",
            broker.ca.display(),
            broker.user
        )
    };
    let text = format!(
        r#"
name = "{name}"
batch_interval = "1s"
checkpoint_dir = "checkpoint"
time_zone = "UTC"
[source]
kind = "kafka"
brokers = "{brokers}"
topics = ["{input}"]
unreachable_limit = "5s"
properties = {{ {source} {login_source} }}
{counted}
[[steps]]
to_kafka = {{ topic = "{output}", brokers = "{brokers}", properties = {{ {sink} {login_output} }} }}
"#,
        name = unique_name("secured"),
        brokers = broker.sasl_ssl_brokers,
        input = input.name(),
        source = of_source.properties,
        login_source = login("SOURCE_PASSWORD"),
        counted = COUNTED.trim(),
        output = output.name(),
        sink = of_output.properties,
        login_output = login("OUTPUT_PASSWORD"),
    );
    let place = Place::with_job(&text);
    let mut values = [of_source.values.clone(), of_output.values.clone()].concat();
    let wrong = "canary-wrong-password";
    values.extend([broker.password.clone(), wrong.to_owned()]);
    let passwords = |source: &str, output: &str| Canaries {
        properties: String::new(),
        environment: BTreeMap::from([
            ("SOURCE_PASSWORD".to_owned(), source.to_owned()),
            ("OUTPUT_PASSWORD".to_owned(), output.to_owned()),
        ]),
        values: Vec::new(),
    };
    let right = &*broker.password;
    let mut ended = Vec::new();
    for loud in LOUD {
        for (source, output, args, code) in [
            (wrong, right, bounded(), 6),
            (right, wrong, bounded(), 6),
            (right, right, format!("{} --progress progress.jsonl", bounded()), 0),
            (right, right, "batches job.toml -o json".to_owned(), 0),
            (right, right, "replay job.toml --verify".to_owned(), 0),
            (right, right, "explain job.toml".to_owned(), 0),
        ] {
            let passwords = passwords(source, output);
            ended.push(ask(&place, &format!("{args} {loud}"), &[&of_source, &of_output, &passwords]).expect(code));
        }
    }
    assert_eq!(sums(&place.read("out.log")), truth(["a b b"]));
    assert_eq!(broker.read_committed(output.name()).len(), 2);
    scan_all(&place, &ended, &values);
}
