//! Brokers that die, come back, are away, and pass on their leaders.

use std::{thread, time::Duration};

use super::{
    super::{
        broker::{own_broker, unique_name},
        run::{sums, truth},
        support::{Place, wait_until},
    },
    PARTITIONS, fill, word_count,
};

#[test]
fn a_broker_that_is_killed_and_comes_back_costs_one_warning_and_no_record() {
    let Some(mut own) = own_broker() else { return };
    let topic = unique_name("away");
    own.create_topic(&topic, PARTITIONS, &[]);
    let mut lines = fill(&own, &topic, 100);
    let job = word_count(&own.brokers, &topic, "");
    let place = Place::with_job(&job.replace("batch_interval = \"1s\"", "batch_interval = \"200ms\""));
    let mut running = place.start("run job.toml");
    wait_until("the first records", || place.read("out.log").contains("p0"));
    own.kill();
    thread::sleep(Duration::from_secs(4));
    assert!(running.is_running(), "{}", running.err());
    own.start_again();
    own.produce(&topic, 0, ["back again"]);
    lines.push("back again".to_owned());
    wait_until("records after the return", || place.read("out.log").contains("'again'"));
    running.signal("-TERM");
    let ended = running.wait().expect(0);
    let warnings: Vec<_> = ended.err.lines().filter(|line| line.contains("WARN")).collect();
    let late = |line: &&&str| line.contains("falling behind");
    assert_eq!(warnings.len() - warnings.iter().filter(late).count(), 1, "{}", ended.err);
    assert_eq!(sums(&place.read("out.log")), truth(lines.iter().map(String::as_str)));
    place.kstream("replay job.toml --verify --batch 0").expect(0);
}

/// Through either data plane: records are being fetched when the broker dies.
#[test]
fn an_outage_amid_a_batch_costs_one_warning() {
    let Some(mut own) = own_broker() else { return };
    let topic = unique_name("amid");
    own.create_topic(&topic, PARTITIONS, &[]);
    let lines = fill(&own, &topic, 200_000);
    let mut running: Vec<_> = ["native", "librdkafka"]
        .map(|fetch| {
            let source =
                format!("fetch = \"{fetch}\"\nmax_records_per_partition = 200_000\nprefetch_memory = \"1MiB\"");
            let job = word_count(&own.brokers, &topic, &source).replace("\"1s\"", "\"2s\"");
            let place = Place::with_job(&job);
            // The evaluator is slower than either plane: the batch is not over before the broker is killed.
            let mut command = place.command("run job.toml");
            command.env("KSTREAM_LAMBDAS", "starlark");
            let run = place.spawn(command);
            (fetch, place, run)
        })
        .into();
    for (_, place, _) in &running {
        wait_until("a planned batch", || {
            place.path("checkpoint").exists()
                && place.kstream("batches job.toml -o json").out.contains("\"status\":\"planned\"")
        });
    }
    own.kill();
    thread::sleep(Duration::from_secs(30));
    for (fetch, place, running) in &mut running {
        assert!(running.is_running(), "{fetch}: {}", running.err());
        assert!(place.read("out.log").is_empty(), "{fetch}: the batch was over before the broker was killed");
    }
    own.start_again();
    for (fetch, place, running) in running {
        wait_until("the batch", || !place.read("out.log").is_empty());
        thread::sleep(Duration::from_secs(3));
        running.signal("-TERM");
        let ended = running.wait().expect(0);
        assert_eq!(ended.err.matches("WARN").count(), 1, "{fetch}: {}", ended.err);
        assert_eq!(sums(&place.read("out.log")), truth(lines.iter().map(String::as_str)), "{fetch}");
    }
}

/// Two brokers; a job reads while one is killed, is missed, and gets its leaders back.
fn follow_leaders(fetch: &str) {
    let Some(first) = own_broker() else { return };
    let mut second = first.second();
    let topic = unique_name("moved");
    first.create_replicated_topic(&topic, PARTITIONS, 2, &[]);
    let moves_to_both = || {
        let leaders = first.leaders(&topic);
        leaders.contains(&1) && leaders.contains(&2)
    };
    wait_until("leaders on both brokers", moves_to_both);
    let mut lines = fill(&first, &topic, 200);
    let job = word_count(&first.brokers, &topic, &format!("fetch = \"{fetch}\"\nmax_records_per_partition = 20"));
    let place = Place::with_job(&job.replace("batch_interval = \"1s\"", "batch_interval = \"200ms\""));
    let mut running = place.start("run job.toml");
    wait_until("the first records", || place.read("out.log").contains("p0"));
    let mut say = |word: &str| {
        for partition in 0..PARTITIONS {
            let line = format!("{word}{partition} {word}");
            first.produce(&topic, partition, [&line]);
            lines.push(line);
        }
        let last = |partition| format!("'{word}{partition}'");
        wait_until(word, || (0..PARTITIONS).all(|partition| place.read("out.log").contains(&last(partition))));
    };
    second.kill();
    wait_until("one leader", || first.leaders(&topic).iter().all(|&leader| leader == 1));
    say("alone");
    second.start_again();
    wait_until("leaders on both brokers again", moves_to_both);
    say("together");
    // In good order: its leaders move before it goes.
    second.stop();
    say("after");
    second.start_again();
    wait_until("leaders on both brokers at last", moves_to_both);
    say("end");
    assert!(running.is_running(), "{}", running.err());
    running.signal("-TERM");
    let ended = running.wait().expect(0);
    let warnings: Vec<_> =
        ended.err.lines().filter(|line| line.contains("WARN") && !line.contains("missed_ticks")).collect();
    assert!(warnings.len() <= 2, "{fetch}: {}", ended.err);
    assert_eq!(sums(&place.read("out.log")), truth(lines.iter().map(String::as_str)), "{fetch}");
    place.kstream("replay job.toml --verify").expect(0);
}

#[test]
fn leaders_that_move_are_followed_by_own_connections() {
    follow_leaders("native");
}

#[test]
fn leaders_that_move_are_followed_by_librdkafka() {
    follow_leaders("librdkafka");
}

#[test]
fn a_broker_that_is_not_there_ends_the_run_after_the_limit() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = Place::with_job(&word_count(&closed.to_string(), "words", "unreachable_limit = \"2s\""));
    let ended = place.kstream("run job.toml").expect(6).says(&[&closed.to_string()]);
    assert_eq!(ended.err.matches("WARN").count(), 1, "{}", ended.err);
    let warning = ended.err.lines().find(|line| line.contains("WARN")).unwrap();
    assert!(warning.contains(&closed.to_string()) && warning.contains("Connection refused"), "{warning}");
}
