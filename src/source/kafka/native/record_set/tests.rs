//! Record sets made by hand: whole, cut, damaged, compressed, transactional, random.

use proptest::prelude::*;

use super::{
    super::made::{MadeBatch, MadeRecord, record, seal, varint},
    *,
};
use crate::model::{TopicPartition, ValueFormat};

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

fn shape() -> ChunkShape {
    let tp = TopicPartition::new("t", 0);
    ChunkShape { tp, key_format: ValueFormat::Utf8, value_format: ValueFormat::Utf8 }
}

/// Reads `start..until` of a set, chunk by chunk: the chunks, and where the position ended.
fn read(
    bytes: &[u8],
    aborted: Option<&[(i64, i64)]>,
    (start, until): (i64, i64),
    max_records: usize,
) -> Result<(Vec<RecordColumn>, i64), Malformed> {
    let aborted = aborted.map(|list| AbortedTransactions::new(list.iter().copied()));
    let mut set = RecordSet::new(Bytes::copy_from_slice(bytes), aborted);
    let (mut position, mut chunks) = (start, Vec::new());
    let mut decompressor = Decompressor::default();
    while let Some(chunk) = set.next_chunk(&mut position, until, max_records, &shape(), &mut decompressor)? {
        assert!(!chunk.is_empty() && chunk.len() <= max_records);
        assert!(*chunk.offsets.last().unwrap() < position && position <= until);
        chunks.push(chunk);
    }
    Ok((chunks, position))
}

fn offsets(chunks: &[RecordColumn]) -> Vec<i64> {
    chunks.iter().flat_map(|chunk| chunk.offsets.iter().copied()).collect()
}

fn values(chunks: &[RecordColumn]) -> Vec<Option<Vec<u8>>> {
    chunks.iter().flat_map(|c| (0..c.len()).map(|i| c.values.get(i).map(<[u8]>::to_vec))).collect()
}

fn set(batches: &[MadeBatch]) -> Vec<u8> {
    batches.iter().flat_map(MadeBatch::bytes).collect()
}

#[test]
fn every_field_of_every_codec_arrives() {
    let mut rich = record(11, Some("k"), None);
    rich.timestamp = -1;
    rich.headers = vec![("h".into(), Some(b"x".to_vec())), ("h".into(), None)];
    let records = vec![record(10, None, Some("")), rich, record(13, Some(""), Some(&"long ".repeat(1_000)))];
    for codec in CODECS {
        let bytes = set(&[MadeBatch::with(records.clone()).codec(codec)]);
        let (chunks, position) = read(&bytes, None, (10, 14), 100).unwrap();
        let [chunk] = chunks.as_slice() else { panic!("{} chunks", chunks.len()) };
        assert_eq!((&chunk.offsets[..], position), (&[10, 11, 13][..], 14));
        assert_eq!(chunk.timestamps, [1_010, -1, 1_013]);
        let keys: Vec<_> = (0..3).map(|i| chunk.keys.get(i)).collect();
        assert_eq!(keys, [None, Some(&b"k"[..]), Some(&b""[..])]);
        assert_eq!(values(&chunks), records.iter().map(|r| r.value.clone()).collect::<Vec<_>>());
        assert_eq!(chunk.headers(0), []);
        assert_eq!(chunk.headers(1), [("h".into(), Some(Bytes::from_static(b"x"))), ("h".into(), None)]);
        assert_eq!(chunk.headers(2), []);
    }
}

#[test]
fn log_append_time_stamps_every_record() {
    let batch = MadeBatch { log_append_time: Some(77), ..MadeBatch::of(0..3) };
    let (chunks, _) = read(&set(&[batch]), None, (0, 3), 10).unwrap();
    assert_eq!(chunks[0].timestamps, [77; 3]);
}

#[test]
fn uncompressed_chunks_are_views_into_the_received_bytes() {
    let bytes = Bytes::from(set(&[MadeBatch::of(0..5), MadeBatch::of(5..9)]));
    let mut records = RecordSet::new(bytes.clone(), None);
    let chunk = records.next_chunk(&mut 0, 9, 100, &shape(), &mut Decompressor::default()).unwrap().unwrap();
    assert_eq!(chunk.len(), 9);
    assert_eq!(chunk.values.buffer.as_ptr(), bytes.as_ptr());
}

#[test]
fn compressed_batches_share_a_chunk_and_codecs_with_and_without_a_buffer_do_not() {
    let batches = [
        MadeBatch::of(0..2).codec(Codec::Zstd),
        MadeBatch::of(2..4).codec(Codec::Gzip),
        MadeBatch::of(4..6),
        MadeBatch::of(6..8),
        MadeBatch::of(8..10).codec(Codec::Lz4),
    ];
    let (chunks, _) = read(&set(&batches), None, (0, 10), 100).unwrap();
    assert_eq!(chunks.iter().map(|c| c.len()).collect::<Vec<_>>(), [4, 4, 2]);
    assert_eq!(offsets(&chunks), (0..10).collect::<Vec<_>>());
}

/// Whatever the range and the chunk size, exactly the records of the range come, and the position ends by arithmetic.
#[test]
fn every_range_of_a_set_with_gaps_is_exact() {
    let batches = [
        MadeBatch { last_offset: 12, ..MadeBatch::of([3, 5, 9]) },
        MadeBatch::of([13, 14]).codec(Codec::Snappy),
        MadeBatch { base_offset: 20, last_offset: 29, ..MadeBatch::of([22, 25]) }.codec(Codec::Zstd),
        MadeBatch { base_offset: 30, last_offset: 33, records: Vec::new(), ..MadeBatch::of([30]) },
        MadeBatch::of([34]),
    ];
    let bytes = set(&batches);
    let all: Vec<i64> = batches.iter().flat_map(|b| b.records.iter().map(|r| r.offset)).collect();
    for start in 0..37 {
        for until in start..37 {
            for max in [1, 2, 100] {
                let (chunks, position) = read(&bytes, None, (start, until), max).unwrap();
                let expected: Vec<i64> = all.iter().copied().filter(|o| (start..until).contains(o)).collect();
                assert_eq!(offsets(&chunks), expected, "{start}..{until} by {max}");
                assert_eq!(position, until.min(35.max(start)), "{start}..{until} by {max}");
            }
        }
    }
}

#[test]
fn ranges_that_follow_each_other_share_a_set() {
    for codec in CODECS {
        let bytes = set(&[MadeBatch::of(0..10).codec(codec), MadeBatch::of(10..20).codec(codec)]);
        let mut records = RecordSet::new(Bytes::from(bytes), None);
        let (mut position, mut seen, mut decompressor) = (0, Vec::new(), Decompressor::default());
        for until in [0, 1, 1, 4, 12, 19, 20] {
            while let Some(chunk) = records.next_chunk(&mut position, until, 3, &shape(), &mut decompressor).unwrap() {
                seen.extend(values(&[chunk]));
            }
            assert_eq!(position, until, "{}", codec.name());
        }
        assert_eq!(seen, (0..20).map(|i| Some(format!("v{i}").into_bytes())).collect::<Vec<_>>());
    }
}

#[test]
fn aborted_records_and_markers_are_skipped() {
    let batches = [
        MadeBatch::of(0..2).transaction(1),
        MadeBatch::of(2..4).transaction(2),
        MadeBatch::of(4..5),
        MadeBatch::marker(5, 1, 0),
        MadeBatch::of(6..8).transaction(1),
        MadeBatch::marker(8, 2, 0),
        MadeBatch::of(9..10).transaction(2),
        MadeBatch::marker(10, 2, 0),
        MadeBatch::marker(11, 1, 1),
        MadeBatch::of(12..13).transaction(2),
        MadeBatch::marker(13, 2, 1),
    ];
    let bytes = set(&batches);
    // The list names producer 2 twice, out of order.
    let aborted: &[(i64, i64)] = &[(2, 9), (1, 0), (2, 2)];
    for (list, expected) in [
        (Some(aborted), vec![4, 6, 7, 12]),
        (Some(&[][..]), vec![0, 1, 2, 3, 4, 6, 7, 9, 12]),
        (None, vec![0, 1, 2, 3, 4, 6, 7, 9, 12]),
    ] {
        for max in [1, 3, 100] {
            let (chunks, position) = read(&bytes, list, (0, 14), max).unwrap();
            assert_eq!((offsets(&chunks), position), (expected.clone(), 14));
        }
    }
    assert_eq!(offsets(&read(&bytes, Some(aborted), (6, 14), 9).unwrap().0), [6, 7, 12]);
}

#[test]
fn a_set_cut_anywhere_gives_its_whole_batches() {
    for codec in [Codec::None, Codec::Lz4] {
        let (first, second) = (MadeBatch::of(0..3).codec(codec).bytes(), MadeBatch::of(3..5).codec(codec).bytes());
        let whole = [first.clone(), second].concat();
        for len in 0..=whole.len() {
            let expected = if len < first.len() {
                0
            } else if len < whole.len() {
                3
            } else {
                5
            };
            let (chunks, position) = read(&whole[..len], None, (0, 9), 100).unwrap();
            assert_eq!((offsets(&chunks), position), ((0..expected).collect(), expected), "cut to {len}");
            let extent = super::super::batch::extent(&whole[..len]);
            assert_eq!(extent.next_offset.unwrap_or(0), expected);
        }
    }
}

#[test]
fn a_wrong_byte_anywhere_behind_the_checksum_is_found() {
    for codec in CODECS {
        let good = MadeBatch::of(0..3).codec(codec).bytes();
        for at in 17..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            let error = read(&bad, None, (0, 3), 100).unwrap_err();
            assert!(matches!(error, Malformed::Checksum { offset: 0, .. }), "byte {at}: {error}");
        }
    }
}

#[test]
fn old_and_unknown_formats_are_refused_by_name() {
    for (magic, expected) in [(0, Malformed::OldMagic(0)), (1, Malformed::OldMagic(1))] {
        let mut bytes = MadeBatch::of(0..3).bytes();
        bytes[16] = magic;
        assert_eq!(read(&bytes, None, (0, 3), 9).unwrap_err(), expected);
    }
    let mut bytes = MadeBatch::of(0..3).bytes();
    bytes[16] = 3;
    assert_eq!(read(&bytes, None, (0, 3), 9).unwrap_err(), Malformed::UnknownMagic { offset: 0, magic: 3 });
}

/// Batches whose checksum is right and whose contents are not.
#[test]
fn contents_that_contradict_themselves_are_refused() {
    fn check(change: impl Fn(&mut Vec<u8>), expected: &str) {
        let mut bytes = MadeBatch::of(0..3).bytes();
        change(&mut bytes);
        seal(&mut bytes);
        let error = read(&bytes, None, (0, 3), 9).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} for {expected:?}");
    }
    let first_record = super::super::batch::HEADER_LEN;
    check(|b| b[57..61].copy_from_slice(&2i32.to_be_bytes()), "bytes behind its last record");
    check(|b| b[57..61].copy_from_slice(&4i32.to_be_bytes()), "length is cut off");
    check(|b| b[57..61].copy_from_slice(&i32::MAX.to_be_bytes()), "length is cut off");
    check(|b| b[57..61].copy_from_slice(&(-1i32).to_be_bytes()), "count is negative");
    check(|b| b[23..27].copy_from_slice(&1i32.to_be_bytes()), "out of order");
    check(|b| b[23..27].copy_from_slice(&(-1i32).to_be_bytes()), "offsets are out of range");
    check(|b| b[..8].copy_from_slice(&i64::MAX.to_be_bytes()), "offsets are out of range");
    check(|b| b[..8].copy_from_slice(&(-5i64).to_be_bytes()), "offsets are out of range");
    check(|b| b[8..12].copy_from_slice(&48i32.to_be_bytes()), "shorter than a header");
    check(|b| b[8..12].copy_from_slice(&(-1i32).to_be_bytes()), "length is negative");
    check(|b| b[22] = 7, "codec is unknown");
    check(|b| b[22] = 4, "cannot be decompressed with zstd");
    check(|b| b[first_record] = 1, "length is negative");
    check(|b| b[first_record] = 126, "longer than its batch");
    check(|b| b[first_record] = 2, "a record is cut off");
    check(|b| b[first_record + 3] = 4, "out of order");
    check(|b| b[first_record + 4] = 3, "a record is cut off");
    check(|b| b[first_record + 5] = 126, "a record is cut off");
    check(|b| b[first_record + 8] = 1, "header count is negative");
    check(|b| b[first_record + 8] = 120, "a record is cut off");
}

#[test]
fn a_bomb_is_refused_with_its_limit() {
    let mut record = record(0, None, None);
    record.value = Some(vec![0; DECOMPRESSED_BATCH_LIMIT]);
    for codec in [Codec::Zstd, Codec::Gzip] {
        let bytes = set(&[MadeBatch::with(vec![record.clone()]).codec(codec)]);
        let error = read(&bytes, None, (0, 1), 9).unwrap_err();
        assert_eq!(error, Malformed::TooLarge { offset: 0, limit: DECOMPRESSED_BATCH_LIMIT });
        assert!(!error.may_pass());
    }
}

fn any_record() -> impl Strategy<Value = MadeRecord> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200));
    let headers = proptest::collection::vec(("[a-zé]{0,5}", bytes()), 0..3);
    (1..5i64, any::<i32>(), bytes(), bytes(), headers).prop_map(|(gap, time, key, value, headers)| MadeRecord {
        offset: gap,
        timestamp: i64::from(time),
        key,
        value,
        headers,
    })
}

proptest! {
    #[test]
    fn any_records_survive(
        mut records in proptest::collection::vec(any_record(), 1..40),
        sizes in proptest::collection::vec((1..9usize, 0..5usize), 1..9),
        max in 1..20usize,
    ) {
        let mut offset = 0;
        records.iter_mut().for_each(|record| { offset += record.offset; record.offset = offset; });
        let (mut bytes, mut rest, mut sizes) = (Vec::new(), &records[..], sizes.into_iter().cycle());
        while !rest.is_empty() {
            let (size, codec) = sizes.next().unwrap();
            let (batch, behind) = rest.split_at(size.min(rest.len()));
            bytes.extend(MadeBatch::with(batch.to_vec()).codec(CODECS[codec]).bytes());
            rest = behind;
        }
        let (chunks, position) = read(&bytes, Some(&[]), (0, offset + 1), max).unwrap();
        prop_assert_eq!(position, offset + 1);
        let mut expected = records.iter();
        for chunk in &chunks {
            for i in 0..chunk.len() {
                let record = expected.next().unwrap();
                prop_assert_eq!(chunk.offsets[i], record.offset);
                prop_assert_eq!(chunk.timestamps[i], record.timestamp);
                prop_assert_eq!(chunk.keys.get(i), record.key.as_deref());
                prop_assert_eq!(chunk.values.get(i), record.value.as_deref());
                let headers: Vec<_> = chunk.headers(i).iter().map(|(n, v)| (n.to_string(), v.as_ref().map(|v| v.to_vec()))).collect();
                prop_assert_eq!(&headers, &record.headers);
            }
        }
        prop_assert!(expected.next().is_none());
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), magic in any::<bool>()) {
        let mut bytes = bytes;
        if magic && bytes.len() > 61 {
            bytes[..12].copy_from_slice(&[0; 12]);
            let length = bytes.len() as i32 - 12;
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            bytes[16] = 2;
            seal(&mut bytes);
        }
        let _ = read(&bytes, Some(&[(1, 1)]), (0, i64::MAX), 10);
        let _ = super::super::batch::extent(&bytes);
    }

    #[test]
    fn sealed_changes_never_panic(at in 0..500usize, byte in any::<u8>(), codec in 0..5usize, cut in 0..9usize) {
        let mut bytes = MadeBatch::of(0..40).codec(CODECS[codec]).bytes();
        let len = bytes.len();
        bytes.truncate(len - cut);
        let len = bytes.len() as i32 - 12;
        bytes[8..12].copy_from_slice(&len.to_be_bytes());
        if let Some(target) = bytes.get_mut(at) {
            *target = byte;
        }
        seal(&mut bytes);
        let _ = read(&bytes, Some(&[]), (0, 40), 7);
    }
}

#[test]
fn a_marker_with_a_short_key_ends_nothing() {
    let mut marker = MadeBatch::marker(2, 1, 0);
    marker.records[0].key = Some(vec![0]);
    let bytes = set(&[MadeBatch::of(0..2).transaction(1), marker, MadeBatch::of(3..4).transaction(1)]);
    assert_eq!(offsets(&read(&bytes, Some(&[(1, 0)]), (0, 9), 9).unwrap().0), [] as [i64; 0]);
    let mut number = Vec::new();
    varint(-1, &mut number);
    assert_eq!(number, [1]);
}
