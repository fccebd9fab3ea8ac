//! Checks the footer of a Parquet file before the library decodes it.
//!
//! The library trusts the counts in a footer: it allocates that much memory, and follows nested
//! columns by recursion. Either would end the process.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use super::thrift::{Compact, MAX_DEPTH, STRUCT};
use crate::limits::{MAX_COLUMNS, OverLimit, check_columns};

const MAX_FOOTER_BYTES: u32 = 32 << 20;
/// Pieces of columns: the number of columns times that of row groups. Each takes about 1.5 KB of
/// memory while an output is written.
const MAX_CHUNKS: usize = 100_000;
const MAX_LEVELS: usize = 64;
/// Nodes of the schema, those inside columns included.
const MAX_NODES: usize = 4 * MAX_COLUMNS;
/// The last bytes of a file: the length of the footer, and `PAR1`.
const TAIL_BYTES: u64 = 8;

/// Checks the counts in the footer.
///
/// # Errors
/// What was found and what was expected.
pub(super) fn check(mut file: &File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let start = length.checked_sub(TAIL_BYTES).ok_or_else(|| damaged("end"))?;
    let mut tail = [0; TAIL_BYTES as usize];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut tail)?;
    let [a, b, c, d, magic @ ..] = tail;
    let bytes = u32::from_le_bytes([a, b, c, d]);
    match &magic {
        b"PAR1" => {}
        b"PARE" => return Err(encrypted()),
        _ => return Err(damaged("end")),
    }
    if bytes > MAX_FOOTER_BYTES {
        return Err(limit(bytes as usize, "bytes of metadata", MAX_FOOTER_BYTES as usize).into());
    }
    let start = start.checked_sub(u64::from(bytes)).ok_or_else(|| damaged("end"))?;
    let mut footer = vec![0; bytes as usize];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut footer)?;
    check_bytes(&footer)
}

fn check_bytes(footer: &[u8]) -> io::Result<()> {
    let mut problem = None;
    let mut chunks = 0;
    let walked = Compact(footer).fields(|reader, field| {
        match field.id {
            2 => check_schema(reader).map_err(|found| problem = found).ok()?,
            4 => {
                let (groups, kind) = reader.list()?;
                (kind == STRUCT).then_some(())?;
                (0..groups).try_for_each(|_| {
                    chunks += count_chunks(reader)?.max(1);
                    (chunks <= MAX_CHUNKS).then_some(())
                })?;
            }
            8 => {
                problem = Some(encrypted());
                return None;
            }
            _ => return Some(false),
        }
        Some(true)
    });
    if chunks > MAX_CHUNKS {
        return Err(limit(chunks, "pieces of columns", MAX_CHUNKS).into());
    }
    walked.ok_or_else(|| problem.unwrap_or_else(|| damaged("metadata")))
}

/// Checks that every node has the children that it announces. Errors are `None` for a schema that
/// cannot be read.
fn check_schema(reader: &mut Compact<'_>) -> Result<(), Option<io::Error>> {
    let (nodes, _) = reader.list().filter(|(_, kind)| *kind == STRUCT).ok_or(None)?;
    if nodes > MAX_NODES {
        return Err(Some(limit(nodes, "columns, those inside others included", MAX_NODES).into()));
    }
    // Children still to come, for each node on the path to the current one.
    let mut open: Vec<usize> = vec![1];
    for node in 0..nodes {
        let mut children = 0;
        let fields = reader.fields(|reader, field| match field.id {
            5 => {
                children = reader.size()?;
                Some(true)
            }
            _ => Some(false),
        });
        fields.ok_or(None)?;
        if node == 0 {
            check_columns(children)?;
        }
        while open.last() == Some(&0) {
            open.pop();
        }
        *open.last_mut().ok_or(None)? -= 1;
        if children > nodes {
            return Err(None);
        }
        open.push(children);
        if open.len() > MAX_LEVELS {
            return Err(Some(limit(open.len(), "levels of columns", MAX_LEVELS).into()));
        }
    }
    if open.iter().all(|left| *left == 0) { Ok(()) } else { Err(None) }
}

/// Reads a row group; returns the number of its column chunks.
fn count_chunks(reader: &mut Compact<'_>) -> Option<usize> {
    let mut chunks = 0;
    reader.fields(|reader, field| {
        if field.id != 1 {
            return Some(false);
        }
        let (count, kind) = reader.list()?;
        (count <= MAX_CHUNKS).then_some(())?;
        chunks = count;
        (0..count).try_for_each(|_| reader.skip_element(kind, MAX_DEPTH))?;
        Some(true)
    })?;
    Some(chunks)
}

fn limit(found: usize, things: &'static str, limit: usize) -> OverLimit {
    let remedy = "write it again with larger row groups or fewer columns";
    OverLimit { found: found as u64, things, limit: limit as u64, remedy }
}

fn encrypted() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "encrypted")
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("its {what} is damaged"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field 2, a list of nodes that have a number of children each.
    fn schema(children: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x29, 0xFC, children.len() as u8];
        children.iter().for_each(|count| bytes.extend([0x55, 2 * count, 0]));
        bytes
    }

    #[track_caller]
    fn check(fields: &[&[u8]], expected: &str) {
        let found = check_bytes(&fields.concat()).map_err(|error| error.to_string());
        match expected {
            "" => assert_eq!(found, Ok(())),
            _ => assert!(found.as_ref().is_err_and(|found| found.contains(expected)), "{found:?}"),
        }
    }

    #[test]
    fn a_schema_has_the_columns_that_it_announces() {
        check(&[&schema(&[2, 0, 1, 0]), &[0]], "");
        check(&[&schema(&[3, 0, 0]), &[0]], "metadata is damaged");
        check(&[&schema(&[1, 0, 0]), &[0]], "metadata is damaged");
        check(&[&schema(&[50, 0]), &[0]], "metadata is damaged");
        check(&[&[0x29, 0x1C, 0x55, 0xC0, 0x84, 0x3D, 0, 0]], "has 500000 columns; expected at most 16384");
        check(&[&schema(&[1; 70])], "has 65 levels of columns");
    }

    #[test]
    fn row_groups_are_counted_and_encryption_is_refused() {
        let group = [0x19, 0x2C, 0, 0, 0];
        check(&[&schema(&[1, 0]), &[0x29, 0x2C], &group, &group, &[0]], "");
        check(&[&schema(&[1, 0]), &[0x29, 0x2C], &group, &[0]], "metadata is damaged");
        let many = [0x29, 0xFC, 0xA1, 0x8D, 6].into_iter().chain([0; 100_002]).collect::<Vec<u8>>();
        check(&[&schema(&[1, 0]), &many], "has 100001 pieces of columns");
        check(&[&schema(&[1, 0]), &[0x6C, 0, 0]], "encrypted");
    }
}
