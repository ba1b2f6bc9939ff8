//! Decompression of one batch's records: appended to a buffer, never beyond a bound.

use std::io::{self, Read};

use zstd::{
    stream::raw::{InBuffer, Operation, OutBuffer},
    zstd_safe::DParameter,
};

use super::buffer::BufferPool;

/// Most bytes one batch may decompress to. Producers bound a batch's uncompressed size by `max.request.size`, one
/// megabyte by default, so this is far from real data and near enough to stop a bomb.
pub const DECOMPRESSED_BATCH_LIMIT: usize = 128 << 20;

/// A frame may ask for this window (2^27 bytes) and no more.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Snappy frames as the Java client writes them: this, two version numbers, then length-prefixed raw blocks.
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_LEN: usize = 16;
const OUTPUT_STEP: usize = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    /// By the attribute bits of a batch.
    pub fn from_id(id: i16) -> Option<Codec> {
        Some(match id {
            0 => Codec::None,
            1 => Codec::Gzip,
            2 => Codec::Snappy,
            3 => Codec::Lz4,
            4 => Codec::Zstd,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }
}

#[derive(Debug)]
pub enum DecompressError {
    /// The bytes are not what the codec wrote.
    Invalid(String),
    /// The output passed the limit.
    TooLarge,
}

impl From<io::Error> for DecompressError {
    fn from(error: io::Error) -> Self {
        DecompressError::Invalid(error.to_string())
    }
}

/// Holds what decompression reuses from batch to batch.
#[derive(Default)]
pub struct Decompressor {
    pub buffers: BufferPool,
    zstd: Option<zstd::stream::raw::Decoder<'static>>,
}

impl Decompressor {
    /// Takes its output buffers from `buffers`.
    pub fn with(buffers: BufferPool) -> Decompressor {
        Decompressor { buffers, ..Decompressor::default() }
    }

    /// Appends the decompressed `input` to `output`, at most `limit` bytes of it.
    pub fn append(
        &mut self,
        codec: Codec,
        input: &[u8],
        output: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), DecompressError> {
        match codec {
            Codec::None => append_all(input, output, limit),
            Codec::Gzip => append_all(flate2::bufread::MultiGzDecoder::new(input), output, limit),
            Codec::Snappy => snappy(input, output, limit),
            Codec::Lz4 => append_all(lz4_flex::frame::FrameDecoder::new(input), output, limit),
            Codec::Zstd => self.zstd(input, output, limit),
        }
    }

    fn zstd(&mut self, input: &[u8], output: &mut Vec<u8>, limit: usize) -> Result<(), DecompressError> {
        let decoder = match &mut self.zstd {
            Some(decoder) => {
                decoder.reinit()?;
                decoder
            }
            none => {
                let mut decoder = zstd::stream::raw::Decoder::new()?;
                decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
                none.insert(decoder)
            }
        };
        let start = output.len();
        let mut source = InBuffer::around(input);
        let mut unfinished = 0;
        loop {
            let written = output.len() - start;
            if written > limit {
                return Err(DecompressError::TooLarge);
            }
            let (pos_before, len_before) = (source.pos(), output.len());
            output.reserve((input.len() * 2).clamp(1 << 10, OUTPUT_STEP));
            let mut sink = OutBuffer::around_pos(output, len_before);
            if source.pos() < input.len() || unfinished != 0 {
                unfinished = decoder.run(&mut source, &mut sink)?;
            }
            let moved = source.pos() > pos_before || sink.pos() > len_before;
            if source.pos() == input.len() && unfinished == 0 {
                break;
            }
            if !moved {
                return Err(DecompressError::Invalid("the frame is cut off".into()));
            }
        }
        if output.len() - start > limit { Err(DecompressError::TooLarge) } else { Ok(()) }
    }
}

/// Reads to the end, or to one byte past `limit`.
fn append_all(input: impl Read, output: &mut Vec<u8>, limit: usize) -> Result<(), DecompressError> {
    let read = input.take(limit as u64 + 1).read_to_end(output)?;
    if read > limit { Err(DecompressError::TooLarge) } else { Ok(()) }
}

fn snappy(input: &[u8], output: &mut Vec<u8>, limit: usize) -> Result<(), DecompressError> {
    if !input.starts_with(XERIAL_MAGIC) {
        return snappy_block(input, output, limit);
    }
    let start = output.len();
    let mut rest = input.get(XERIAL_HEADER_LEN..).ok_or_else(|| invalid("the frame's header is cut off"))?;
    while !rest.is_empty() {
        let (len, behind) = rest.split_first_chunk().ok_or_else(|| invalid("a block's length is cut off"))?;
        let len = u32::from_be_bytes(*len) as usize;
        let (block, behind) = behind.split_at_checked(len).ok_or_else(|| invalid("a block is cut off"))?;
        snappy_block(block, output, limit.saturating_sub(output.len() - start))?;
        rest = behind;
    }
    Ok(())
}

fn snappy_block(block: &[u8], output: &mut Vec<u8>, limit: usize) -> Result<(), DecompressError> {
    let len = snap::raw::decompress_len(block).map_err(invalid)?;
    if len > limit {
        return Err(DecompressError::TooLarge);
    }
    let start = output.len();
    output.resize(start + len, 0);
    let target = output.get_mut(start..).unwrap_or_default();
    let written = snap::raw::Decoder::new().decompress(block, target).map_err(invalid)?;
    output.truncate(start + written);
    Ok(())
}

fn invalid(reason: impl ToString) -> DecompressError {
    DecompressError::Invalid(reason.to_string())
}

#[cfg(test)]
mod tests {
    use super::{super::made::compress, *};

    const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    fn xerial(blocks: &[&[u8]]) -> Vec<u8> {
        let mut bytes = [XERIAL_MAGIC, &1u32.to_be_bytes(), &1u32.to_be_bytes()].concat();
        for block in blocks {
            let block = snap::raw::Encoder::new().compress_vec(block).unwrap();
            bytes.extend((block.len() as u32).to_be_bytes());
            bytes.extend(block);
        }
        bytes
    }

    fn text(len: usize) -> Vec<u8> {
        (0..len).map(|i| b"the harbour log of a windy day "[(i * i / 7) % 31]).collect()
    }

    #[test]
    fn what_was_compressed_comes_back_behind_what_was_there() {
        let mut decompressor = Decompressor::default();
        for len in [0, 1, 100, 65_536, 1_000_003] {
            let plain = text(len);
            for codec in CODECS {
                let mut output = b"before".to_vec();
                decompressor.append(codec, &compress(codec, &plain), &mut output, len).unwrap();
                assert!(output.starts_with(b"before") && output[6..] == plain, "{} of {len}", codec.name());
            }
        }
        let mut output = Vec::new();
        decompressor.append(Codec::Snappy, &xerial(&[b"one ", b"", b"two"]), &mut output, 7).unwrap();
        assert_eq!(output, b"one two");
    }

    #[test]
    fn one_byte_above_the_limit_is_too_large() {
        let plain = text(100_000);
        for codec in CODECS {
            let result = Decompressor::default().append(codec, &compress(codec, &plain), &mut Vec::new(), 99_999);
            assert!(matches!(result, Err(DecompressError::TooLarge)), "{}", codec.name());
        }
        let framed = xerial(&[&plain[..50_000], &plain[50_000..]]);
        let result = Decompressor::default().append(Codec::Snappy, &framed, &mut Vec::new(), 99_999);
        assert!(matches!(result, Err(DecompressError::TooLarge)));
    }

    #[test]
    fn a_bomb_stops_at_the_limit_and_not_behind_it() {
        let plain = vec![0; 64 << 20];
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let bomb = compress(codec, &plain);
            let mut output = Vec::new();
            let result = Decompressor::default().append(codec, &bomb, &mut output, 1 << 20);
            assert!(matches!(result, Err(DecompressError::TooLarge)), "{}", codec.name());
            assert!(output.capacity() < 8 << 20, "{} took {}", codec.name(), output.capacity());
        }
    }

    #[test]
    fn cut_bytes_are_refused_or_give_a_prefix_and_never_panic() {
        let plain = text(3_000);
        let mut decompressor = Decompressor::default();
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let whole = compress(codec, &plain);
            for len in 0..whole.len() {
                let mut output = Vec::new();
                let result = decompressor.append(codec, &whole[..len], &mut output, 4_000);
                assert!(result.is_err() || output.len() < plain.len() || codec == Codec::Lz4, "{} {len}", codec.name());
            }
        }
    }
}
