//! Zigzag variable-length integers, as record batches hold them.

/// Most bytes of a 64-bit number, seven bits each.
const MAX_LEN: usize = 10;

/// Reads one number at `at` and moves behind it. `None` where the bytes end or the number has more than 64 bits.
#[inline(always)]
pub fn read(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let &first = bytes.get(*at)?;
    if first < 0x80 {
        *at += 1;
        return Some(i64::from(first >> 1) ^ -i64::from(first & 1));
    }
    // Deltas in a batch of up to 8,192 records, and lengths of up to 8,191 bytes.
    if let Some(&second) = bytes.get(*at + 1)
        && second < 0x80
    {
        *at += 2;
        let number = u16::from(first & 0x7f) | u16::from(second) << 7;
        return Some(i64::from(number >> 1) ^ -i64::from(number & 1));
    }
    read_long(bytes, at)
}

#[inline(never)]
fn read_long(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let mut number = 0u64;
    for (idx, &byte) in bytes.get(*at..)?.iter().take(MAX_LEN).enumerate() {
        if idx == MAX_LEN - 1 && byte > 1 {
            return None;
        }
        number |= u64::from(byte & 0x7f) << (7 * idx);
        if byte < 0x80 {
            *at += idx + 1;
            return Some((number >> 1) as i64 ^ -((number & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(number: i64) -> Vec<u8> {
        let mut zigzag = ((number << 1) ^ (number >> 63)) as u64;
        let mut bytes = Vec::new();
        while zigzag >= 0x80 {
            bytes.push(zigzag as u8 | 0x80);
            zigzag >>= 7;
        }
        bytes.push(zigzag as u8);
        bytes
    }

    #[test]
    fn every_length_is_read_and_a_cut_one_is_not() {
        for shift in 0..64 {
            for number in
                [1i64 << shift, (1i64 << shift).wrapping_neg(), (1i64 << shift).wrapping_sub(1), i64::MIN, i64::MAX]
            {
                let bytes = encoded(number);
                let mut at = 0;
                assert_eq!(read(&bytes, &mut at), Some(number));
                assert_eq!(at, bytes.len());
                for len in 0..bytes.len() {
                    assert_eq!(read(&bytes[..len], &mut 0), None, "{number} cut to {len}");
                }
            }
        }
    }

    #[test]
    fn more_than_64_bits_are_refused() {
        assert_eq!(read(&[0xff; 11], &mut 0), None);
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], &mut 0), None);
    }
}
