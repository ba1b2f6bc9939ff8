//! Two processes of one job on copies of one checkpoint: whichever moment one takes the output over from the other, no
//! batch is there twice.

use std::{
    thread,
    time::{Duration, Instant},
};

use kafka_protocol::messages::ApiKey;

use super::{
    broker::{Broker, broker, unique_name},
    kafka_output::{bounded, copy_dir, delivered, fill, job},
    proxy::Proxy,
    run::truth,
    support::{Place, wait_until},
};

/// A place with the same checkpoint and log, whose job knows the broker by another address.
fn copy_of(place: &Place, broker: &Broker, address: &str) -> Place {
    let copy = Place::with_job(&place.read("job.toml").replace(&broker.brokers, address));
    copy_dir(&place.path("checkpoint"), &copy.path("checkpoint"));
    copy.write("out.log", place.read("out.log"));
    copy
}

#[test]
fn what_another_process_delivers_while_one_begins_to_write_is_not_delivered_again() {
    let Some(broker) = broker() else { return };
    let (input, output) = (broker.topic("in", 2), unique_name("out"));
    let lines = fill(broker, input.name(), 10);
    let first =
        Place::with_job(&job(&unique_name("begins"), &broker.brokers, input.name(), &format!("topic = \"{output}\"")));
    first.kstream(&bounded()).expect(1).says(&["does not exist"]);
    assert!(!first.path("checkpoint").exists());
    broker.create_topic(&output, 1, &[]);
    // A checkpoint that knows of no delivery, and of no plan.
    let mut killed = first.command(&bounded());
    killed.env("KSTREAM_CRASH_AT", "create: renamed");
    assert_eq!(first.spawn(killed).wait().code, None);
    let proxy = Proxy::before(&broker.brokers);
    let second = copy_of(&first, broker, &proxy.address);
    // The second has looked, and is about to shut everybody else out.
    proxy.swallow(ApiKey::InitProducerId);
    let mut running = second.start(&bounded());
    wait_until("the beginning", || proxy.seen(ApiKey::InitProducerId) > 0 || !running.is_running());
    first.catch_up();
    let (expected, messages) = delivered(broker, &output);
    assert_eq!(expected, truth(lines.iter().map(String::as_str)));
    proxy.pass_on();
    let ended = running.wait().expect(0);
    assert_eq!(delivered(broker, &output), (expected, messages), "{}", ended.err);
    broker.delete_topic(&output);
}

/// One record a batch, over a proxy to the outputs alone; a call that is not answered is given up after ten seconds.
fn through(broker: &Broker, proxy: &Proxy, input: &str, output: &str) -> Place {
    let output = format!("topic = \"{output}\", brokers = \"{}\"", proxy.address);
    let text = job(&unique_name("amid"), &broker.brokers, input, &output);
    let text = text.replace("max_records_per_partition = 20", "max_records_per_partition = 1");
    // A batch in flight would not be finished in a copy whose log lies elsewhere.
    let text = text.replace(", to = \"out.log\"", "");
    Place::with_job(&text.replace("max_records", "unreachable_limit = \"40s\"\nmax_records"))
}

#[test]
fn a_process_that_was_cut_off_does_not_shut_out_the_one_that_has_gone_on_without_it() {
    let Some(broker) = broker() else { return };
    let (input, output) = (broker.topic("in", 1), broker.topic("out", 1));
    let count = || broker.read_committed(output.name()).len();
    let proxy = Proxy::before(&broker.brokers);
    let first = through(broker, &proxy, input.name(), output.name());
    broker.produce(input.name(), 0, ["one"]);
    let mut cut_off = first.start("run job.toml");
    wait_until("the first delivery", || count() == 1 || !cut_off.is_running());
    thread::sleep(Duration::from_millis(500));
    proxy.fall_silent();
    let silent = Instant::now();
    broker.produce(input.name(), 0, ["two"]);
    wait_until("the warning", || cut_off.err().contains("waiting for Kafka") || !cut_off.is_running());
    let second = copy_of(&first, broker, &proxy.address);
    second.write("job.toml", second.read("job.toml").replace(&proxy.address, &broker.brokers));
    let mut running = second.start("run job.toml");
    wait_until("the batch in flight", || count() == 2 || !running.is_running());
    broker.produce(input.name(), 0, ["three"]);
    wait_until("another", || count() == 3 || !running.is_running());
    assert!(running.is_running(), "{}", running.err());
    // Its producer is given up by then.
    thread::sleep(Duration::from_secs(11).saturating_sub(silent.elapsed()));
    proxy.speak();
    cut_off.wait().expect(3).says(&["older copy"]);
    broker.produce(input.name(), 0, ["four"]);
    wait_until("one more", || count() == 4 || !running.is_running());
    assert!(running.is_running(), "{}", running.err());
    running.signal("-TERM");
    running.wait().expect(0);
    let keys: Vec<_> = broker.read_committed(output.name()).iter().map(|record| record.key_text()).collect();
    assert_eq!(keys, ["one", "two", "three", "four"]);
}

/// A record that reached its broker after the end of its transaction would be taken along by the next one.
#[test]
fn a_transaction_with_records_under_way_is_not_ended_but_left_to_the_next_producer() {
    let Some(broker) = broker() else { return };
    let (input, output) = (broker.topic("in", 1), broker.topic("out", 1));
    let keys =
        || -> Vec<String> { broker.read_committed(output.name()).iter().map(|record| record.key_text()).collect() };
    let proxy = Proxy::before(&broker.brokers);
    let place = through(broker, &proxy, input.name(), output.name());
    place.write("job.toml", place.read("job.toml").replace("\"40s\"", "\"12s\""));
    broker.produce(input.name(), 0, ["one"]);
    let mut running = place.start("run job.toml");
    wait_until("the first delivery", || keys().len() == 1 || !running.is_running());
    thread::sleep(Duration::from_millis(500));
    proxy.swallow(ApiKey::Produce);
    let ended = proxy.seen(ApiKey::EndTxn);
    let begun = proxy.seen(ApiKey::InitProducerId);
    broker.produce(input.name(), 0, ["two"]);
    wait_until("the next producer", || proxy.seen(ApiKey::InitProducerId) > begun || !running.is_running());
    assert_eq!(proxy.seen(ApiKey::EndTxn), ended, "{}", running.err());
    proxy.pass_on();
    wait_until("the second delivery", || keys().len() == 2 || !running.is_running());
    running.signal("-TERM");
    running.wait().expect(0);
    assert_eq!(keys(), ["one", "two"]);
}
