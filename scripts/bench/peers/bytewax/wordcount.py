"""Words of a topic counted by Bytewax: each batch of messages combined by hand, then running counts to PEER_OUT."""

import os
from collections import Counter

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition

# Large, so that the words of a batch repeat and combining pays.
BATCH = 50_000
LINES = os.environ["PEER_WORKLOAD"] == "lines"


def combine(messages):
    """One pair for each word of a batch, not for each message."""
    counts = Counter()
    if LINES:
        for message in messages:
            counts.update(message.value.split(b" "))
    else:
        counts.update(message.value for message in messages)
    return [(word.decode(), count) for word, count in counts.items()]


def add(total, count):
    """The running count of a word, kept and given on."""
    total = (total or 0) + count
    return total, total


class Lines(StatelessSinkPartition):
    """Whole lines at the end of the file, whichever worker writes. Its own file sink would wait for the disk."""

    def __init__(self):
        self._file = open(os.environ["PEER_OUT"], "ab", buffering=0)

    def write_batch(self, items):
        text = "".join(f"{word}\t{total}\n" for word, total in items).encode()
        while text:
            text = text[self._file.write(text) :]

    def close(self):
        self._file.close()


class Counts(DynamicSink):
    def build(self, _step_id, _worker_index, _worker_count):
        return Lines()


flow = Dataflow("wordcount")
messages = op.input(
    "messages",
    flow,
    KafkaSource(
        [os.environ["PEER_BROKERS"]],
        [os.environ["PEER_TOPIC"]],
        tail=False,
        batch_size=BATCH,
    ),
)
pairs = op.flat_map_batch("combine", messages, combine)
totals = op.stateful_map("add", pairs, add)
op.output("counts", totals, Counts())
