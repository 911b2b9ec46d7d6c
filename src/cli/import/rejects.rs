//! The file of refused orders: their lines unchanged, with the reason as the last column.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use csv::{ByteRecord, Writer};

use super::{draft::Refusal, source::SourceOrder};

/// Writes refused orders to a file, which the first one creates.
pub struct Rejects {
    path: PathBuf,
    heading: ByteRecord,
    writer: Option<Writer<File>>,
}

impl Rejects {
    /// Prepares the file `path`. Removes the file of an earlier import.
    ///
    /// # Errors
    /// If that file cannot be removed.
    pub fn new(path: &Path, heading: ByteRecord) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(Self {
                path: path.to_owned(),
                heading,
                writer: None,
            }),
        }
    }

    /// Writes the lines of a refused order.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&mut self, order: &SourceOrder, refusal: &Refusal) -> csv::Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let mut writer = csv::WriterBuilder::new()
                    .flexible(true)
                    .from_path(&self.path)?;
                let mut heading = self.heading.clone();
                heading.push_field(b"reason");
                writer.write_byte_record(&heading)?;
                none.insert(writer)
            }
        };
        for line in &order.lines {
            let mut record = line.record.clone();
            // A line with too few cells is padded, so that the reason is in its own column.
            while record.len() < self.heading.len() {
                record.push_field(b"");
            }
            let reason = match refusal.line {
                Some(invalid) if invalid != line.number => {
                    format!("line {invalid}: {}", refusal.reason)
                }
                _ => refusal.reason.clone(),
            };
            record.push_field(reason.as_bytes());
            writer.write_byte_record(&record)?;
        }
        Ok(())
    }

    /// Flushes the file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish(self) -> io::Result<()> {
        self.writer.map_or(Ok(()), |mut writer| writer.flush())
    }
}
