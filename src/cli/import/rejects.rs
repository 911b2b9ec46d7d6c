//! The file of refused orders: their lines as they were, with the reason behind.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use csv::{ByteRecord, Writer};

use super::{draft::Refusal, source::SourceOrder};

/// Writes refused orders; the file is made when the first one comes.
pub struct Rejects {
    path: PathBuf,
    heading: ByteRecord,
    writer: Option<Writer<File>>,
}

impl Rejects {
    /// Makes ready to write to `path`; what an earlier import left there is removed.
    ///
    /// # Errors
    /// Where that cannot be removed.
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

    /// Writes an order.
    ///
    /// # Errors
    /// Where the file cannot be written.
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
            // A short line keeps its reason in the reason's column.
            while record.len() < self.heading.len() {
                record.push_field(b"");
            }
            let reason = match refusal.line {
                Some(bad) if bad != line.number => format!("line {bad}: {}", refusal.reason),
                _ => refusal.reason.clone(),
            };
            record.push_field(reason.as_bytes());
            writer.write_byte_record(&record)?;
        }
        Ok(())
    }

    /// Brings everything to the file.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn finish(self) -> io::Result<()> {
        self.writer.map_or(Ok(()), |mut writer| writer.flush())
    }
}
