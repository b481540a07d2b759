//! Reading tar archives from strangers: in bounded memory, with every size checked.
//!
//! The `tar` crate's own iterator keeps extended headers of any size in memory and misreads binary ones, so only its field parsing is used.
//!
//! Source: POSIX.1-2017 pax; GNU tar manual, “Basic Tar Format”, “Storing Sparse Files”.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use tar::{EntryType, Header};

const BLOCK: u64 = 512;
/// Most bytes of extended headers (long names, pax records) that one entry may have.
const MAX_EXTENSION_BYTES: u64 = 1 << 20;
/// Most pieces of a sparse file.
const MAX_SEGMENTS: usize = 100_000;

/// One entry, its extended headers applied.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) kind: EntryType,
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    /// Permission bits with setuid, setgid and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// Of the file once it is written; sparse files are larger than what the archive holds of them.
    pub(crate) size: u64,
    /// Pieces of a sparse file as (offset, length), in order; `None` for ordinary files.
    pub(crate) sparse: Option<Vec<(u64, u64)>>,
    /// It carries `security.capability`.
    pub(crate) has_capabilities: bool,
}

/// A tar stream. The content of the last entry is read from [`Archive`] itself; what is left of it is passed over by the next entry.
pub(crate) struct Archive<R> {
    inner: R,
    /// Content not yet read.
    content: u64,
    padding: u64,
}

impl<R: Read> Read for Archive<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.content).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 {
            return Ok(0);
        }
        let read = self.inner.read(&mut buffer[..room])?;
        if read == 0 {
            return Err(damaged("it ends within a file"));
        }
        self.content -= read as u64;
        Ok(read)
    }
}

impl<R: Read> Archive<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, content: 0, padding: 0 }
    }

    /// The stream behind, wherever it stands.
    pub(crate) fn into_inner(self) -> R {
        self.inner
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// `InvalidData` for what is no tar; those of the stream.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut long_path = None;
        let mut long_link = None;
        let mut records = Records::new();
        let mut extended = 0u64;
        loop {
            self.skip()?;
            let Some(header) = self.header()? else { return Ok(None) };
            self.enter(told(&header.as_old().size, || header.entry_size())?)?;
            if matches!(header.entry_type(), EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader) {
                extended = extended.saturating_add(self.content);
                if extended > MAX_EXTENSION_BYTES {
                    return Err(damaged("the extended headers of an entry are larger than 1 MiB"));
                }
            }
            match header.entry_type() {
                EntryType::GNULongName => long_path = Some(self.name()?),
                EntryType::GNULongLink => long_link = Some(self.name()?),
                EntryType::XHeader => records.extend(pax(&self.extension()?)?),
                EntryType::XGlobalHeader => {}
                _ => return self.entry(&header, long_path, long_link, &records).map(Some),
            }
        }
    }

    fn entry(&mut self, header: &Header, path: Option<Vec<u8>>, link: Option<Vec<u8>>, records: &Records) -> io::Result<Entry> {
        // An empty value means: as in the header.
        let text = |key: &str| records.get(key.as_bytes()).filter(|value| !value.is_empty()).cloned();
        let number = |key: &str| text(key).map(|value| decimal(&value)).transpose();
        // Below zero is nobody we know.
        let owner = |key: &str| text(key).map(|value| if value.starts_with(b"-") { Ok(u64::MAX) } else { decimal(&value) }).transpose();
        if let Some(size) = number("size")? {
            self.enter(size)?;
        }
        let old = header.as_old();
        let path = text("GNU.sparse.name").or_else(|| text("path")).or(path).unwrap_or_else(|| header.path_bytes().into_owned());
        if has_no_content(header, &path) {
            self.enter(0)?;
        }
        let mut entry = Entry {
            kind: header.entry_type(),
            path,
            link: text("linkpath").or(link).unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned()),
            mode: told(&old.mode, || header.mode())? & 0o7777,
            uid: owner("uid")?.map_or_else(|| told(&old.uid, || header.uid()), Ok)?,
            gid: owner("gid")?.map_or_else(|| told(&old.gid, || header.gid()), Ok)?,
            size: self.content,
            sparse: None,
            has_capabilities: records.contains_key(&b"SCHILY.xattr.security.capability"[..]),
        };
        if header.entry_type() == EntryType::GNUSparse {
            (entry.size, entry.sparse) = (header.size()?, Some(self.gnu_segments(header)?));
        } else if let Some(size) = number("GNU.sparse.realsize")?.or(number("GNU.sparse.size")?) {
            let segments = match text("GNU.sparse.map") {
                Some(map) => pairs(map.split(|byte| *byte == b',').map(decimal))?,
                None if number("GNU.sparse.major")? == Some(1) => self.pax_segments()?,
                None => return Err(damaged("it has a sparse file of an unknown form")),
            };
            (entry.size, entry.sparse) = (size, Some(segments));
        }
        check_segments(&entry, self.content)?;
        Ok(entry)
    }

    fn enter(&mut self, size: u64) -> io::Result<()> {
        self.content = size;
        self.padding = (BLOCK - size % BLOCK) % BLOCK;
        size.checked_add(self.padding).map(|_| ()).ok_or_else(|| damaged("a size is out of range"))
    }

    /// Passes over what is left of the entry. Some tools (umoci insert) leave out the padding at the archive's end.
    fn skip(&mut self) -> io::Result<()> {
        let (content, padding) = (self.content, self.padding);
        (self.content, self.padding) = (0, 0);
        if io::copy(&mut (&mut self.inner).take(content), &mut io::sink())? < content {
            return Err(damaged("it ends within a file"));
        }
        io::copy(&mut (&mut self.inner).take(padding), &mut io::sink())?;
        Ok(())
    }

    /// The next header; `None` at a block of zeros or at the stream's end.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let mut filled = 0;
        while filled < block.len() {
            match self.inner.read(&mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(damaged("it ends within a header")),
                read => filled += read,
            }
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sum: u32 = block[..148].iter().chain(&block[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ');
        // Some old tools add bytes up as signed ones.
        let signed: i64 = block[..148].iter().chain(&block[156..]).map(|byte| i64::from(byte.cast_signed())).sum::<i64>() + 8 * i64::from(b' ');
        let told = header.cksum()?;
        if told != sum && i64::from(told) != signed {
            return Err(damaged("a header's checksum is wrong"));
        }
        Ok(Some(header))
    }

    fn extension(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn name(&mut self) -> io::Result<Vec<u8>> {
        let mut name = self.extension()?;
        name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
        Ok(name)
    }

    /// The map of an old GNU sparse file: four pieces in the header, the rest in blocks that follow it.
    fn gnu_segments(&mut self, header: &Header) -> io::Result<Vec<(u64, u64)>> {
        let gnu = header.as_gnu().ok_or_else(|| damaged("a sparse file has no GNU header"))?;
        let mut segments = Vec::new();
        let mut add = |piece: &tar::GnuSparseHeader| -> io::Result<()> {
            if !piece.is_empty() {
                segments.push((piece.offset()?, piece.length()?));
            }
            if segments.len() > MAX_SEGMENTS { Err(damaged("a sparse file has too many pieces")) } else { Ok(()) }
        };
        gnu.sparse.iter().try_for_each(&mut add)?;
        let mut more = gnu.is_extended();
        while more {
            let mut extended = tar::GnuExtSparseHeader::new();
            self.inner.read_exact(extended.as_mut_bytes())?;
            extended.sparse.iter().try_for_each(&mut add)?;
            more = extended.is_extended();
        }
        Ok(segments)
    }

    /// The map of a pax sparse file of form 1.0: decimal lines before the content, padded to a block.
    fn pax_segments(&mut self) -> io::Result<Vec<(u64, u64)>> {
        let mut read = 0u64;
        let mut line = |archive: &mut Self| -> io::Result<u64> {
            let mut digits = Vec::new();
            loop {
                let mut byte = [0];
                archive.read_exact(&mut byte)?;
                read += 1;
                match byte[0] {
                    b'\n' => return decimal(&digits),
                    _ if digits.len() > 20 => return Err(damaged("a sparse file's map is no map")),
                    byte => digits.push(byte),
                }
            }
        };
        let count = line(self)?;
        if count > MAX_SEGMENTS as u64 {
            return Err(damaged("a sparse file has too many pieces"));
        }
        let mut segments = Vec::new();
        for _ in 0..count {
            segments.push((line(self)?, line(self)?));
        }
        let padding = (BLOCK - read % BLOCK) % BLOCK;
        io::copy(&mut self.take(padding), &mut io::sink())?;
        Ok(segments)
    }
}

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// Records of a pax header: `LENGTH KEY=VALUE\n`, where values may be binary.
fn pax(mut bytes: &[u8]) -> io::Result<Records> {
    let wrong = || damaged("an extended header is out of form");
    let mut records = Records::new();
    while !bytes.is_empty() && bytes[0] != 0 {
        let space = bytes.iter().take(20).position(|byte| *byte == b' ').ok_or_else(wrong)?;
        let length = usize::try_from(decimal(&bytes[..space])?).map_err(|_| wrong())?;
        let record = bytes.get(space + 1..length).and_then(|record| record.strip_suffix(b"\n")).ok_or_else(wrong)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        if matches!(key, b"GNU.sparse.offset" | b"GNU.sparse.numbytes") {
            // Form 0.0 repeats two keys for each piece; form 0.1 has the same numbers in one.
            let map = records.entry(b"GNU.sparse.map".to_vec()).or_default();
            if !map.is_empty() {
                map.push(b',');
            }
            map.extend_from_slice(value);
        } else {
            records.insert(key.to_vec(), value.to_vec());
        }
        bytes = &bytes[length..];
    }
    Ok(records)
}

fn pairs(mut numbers: impl Iterator<Item = io::Result<u64>>) -> io::Result<Vec<(u64, u64)>> {
    let mut pairs = Vec::new();
    while let Some(offset) = numbers.next() {
        pairs.push((offset?, numbers.next().ok_or_else(|| damaged("a sparse file's map is no map"))??));
    }
    Ok(pairs)
}

/// Pieces follow each other, end within the file and are all there.
fn check_segments(entry: &Entry, content: u64) -> io::Result<()> {
    let Some(segments) = &entry.sparse else { return Ok(()) };
    let mut end = 0;
    let mut sum = 0u64;
    for (offset, length) in segments {
        if *offset < end {
            return Err(damaged("a sparse file's pieces overlap"));
        }
        end = offset.checked_add(*length).filter(|end| *end <= entry.size).ok_or_else(|| damaged("a sparse file's piece is out of range"))?;
        sum += length;
    }
    if sum > content { Err(damaged("a sparse file's pieces are not all there")) } else { Ok(()) }
}

/// Links, folders and devices are headers alone, whatever size some tools give them; so are folders of archives that know them by the slash.
fn has_no_content(header: &Header, path: &[u8]) -> bool {
    use EntryType::{Block, Char, Directory, Fifo, Link, Symlink};
    let old_folder = header.as_old().linkflag[0] == 0 && path.ends_with(b"/");
    old_folder || matches!(header.entry_type(), Link | Symlink | Char | Block | Directory | Fifo)
}

/// A number of a header; fields left empty count as zero, as everybody reads them.
fn told<T: Default>(field: &[u8], read: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if field.iter().all(|byte| matches!(byte, 0 | b' ')) { Ok(T::default()) } else { read() }
}

fn decimal(digits: &[u8]) -> io::Result<u64> {
    std::str::from_utf8(digits).ok().and_then(|digits| digits.trim().parse().ok()).ok_or_else(|| damaged("a number is none"))
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the archive is damaged: {what}"))
}
