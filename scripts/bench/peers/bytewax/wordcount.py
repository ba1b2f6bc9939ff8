"""Words of a topic counted by Bytewax: each batch of messages combined by hand, then running counts to PEER_OUT."""

import os
from collections import Counter
from pathlib import Path

import bytewax.operators as op
from bytewax.connectors.files import FileSink
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow

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
    return total, f"{total}"


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
lines = op.map("format", totals, lambda total: (total[0], f"{total[0]}\t{total[1]}"))
op.output("counts", lines, FileSink(Path(os.environ["PEER_OUT"])))
