//! Record sets as brokers keep them, built by hand.

fn varint(number: i64, to: &mut Vec<u8>) {
    let mut zigzag = ((number << 1) ^ (number >> 63)) as u64;
    while zigzag >= 0x80 {
        to.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    to.push(zigzag as u8);
}

fn record(delta: i64, key: Option<&str>, value: Option<&str>, headers: &[(&str, Option<&str>)]) -> Vec<u8> {
    let field = |text: Option<&str>, to: &mut Vec<u8>| {
        varint(text.map_or(-1, |text| text.len() as i64), to);
        to.extend(text.unwrap_or_default().as_bytes());
    };
    let mut body = vec![0];
    varint(delta, &mut body);
    varint(delta, &mut body);
    field(key, &mut body);
    field(value, &mut body);
    varint(headers.len() as i64, &mut body);
    for (name, value) in headers {
        field(Some(name), &mut body);
        field(*value, &mut body);
    }
    let mut record = Vec::new();
    varint(body.len() as i64, &mut record);
    record.extend(body);
    record
}

/// `attributes`: codec, bit 4 transactional, bit 5 control.
fn batch(base: i64, attributes: i16, producer: i64, count: i64) -> Vec<u8> {
    let mut plain = Vec::new();
    for delta in 0..count {
        let headers: &[(&str, Option<&str>)] = if delta == 1 { &[("h", Some("x")), ("n", None)] } else { &[] };
        plain.extend(record(delta, (delta % 2 == 0).then_some("key"), (delta != 2).then_some("some value"), headers));
    }
    let packed = match attributes & 7 {
        1 => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, &plain).expect("gzip");
            encoder.finish().expect("gzip")
        }
        2 => snap::raw::Encoder::new().compress_vec(&plain).expect("snappy"),
        3 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            std::io::Write::write_all(&mut encoder, &plain).expect("lz4");
            encoder.finish().expect("lz4")
        }
        4 => zstd::stream::encode_all(&plain[..], 3).expect("zstd"),
        _ => plain,
    };
    let mut covered = Vec::new();
    covered.extend(attributes.to_be_bytes());
    covered.extend((count as i32 - 1).to_be_bytes());
    covered.extend(1_000i64.to_be_bytes());
    covered.extend(2_000i64.to_be_bytes());
    covered.extend(producer.to_be_bytes());
    covered.extend(0i16.to_be_bytes());
    covered.extend(0i32.to_be_bytes());
    covered.extend((count as i32).to_be_bytes());
    covered.extend(packed);
    let mut bytes = base.to_be_bytes().to_vec();
    bytes.extend((covered.len() as i32 + 9).to_be_bytes());
    bytes.extend(0i32.to_be_bytes());
    bytes.push(2);
    bytes.extend(0u32.to_be_bytes());
    bytes.extend(covered);
    seal_batches(&mut bytes);
    bytes
}

/// Valid sets: each codec, several batches, transactions and a control batch.
pub fn record_sets() -> Vec<Vec<u8>> {
    let mut sets: Vec<Vec<u8>> = (0..=4).map(|codec| batch(10, codec, -1, 5)).collect();
    sets.push([batch(0, 0, -1, 3), batch(3, 4, -1, 3), batch(9, 2, -1, 4)].concat());
    sets.push([batch(0, 16, 7, 3), batch(3, 16 + 3, 8, 3), batch(6, 16 + 32, 7, 1)].concat());
    sets
}

/// Gives each batch the checksum that fits its bytes.
pub fn seal_batches(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 21) {
        let len = i32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        let end = at.saturating_add(12).saturating_add(usize::try_from(len).unwrap_or(0));
        if end < at + 21 || bytes.len() < end {
            return;
        }
        let crc = crc_fast::crc32_iscsi(&bytes[at + 21..end]);
        bytes[at + 17..at + 21].copy_from_slice(&crc.to_be_bytes());
        at = end;
    }
}
