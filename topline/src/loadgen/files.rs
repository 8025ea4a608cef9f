//! The files of a run. Each has its name when it is complete, and not before: a run that comes to nothing
//! leaves those of earlier ones alone.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use loadgen::{
    load::{Outputs, Summary},
    page,
};

use super::FileArgs;

/// A file that is written under `NAME.part` beside it, and named when it is complete. It is made at once, so that a
/// wrong path is known at once; dropped before it is complete, it is removed.
pub(super) struct Output {
    path: PathBuf,
    /// `None` for what is no regular file, such as a pipe: it is written directly.
    part: Option<PathBuf>,
    file: File,
}

impl Output {
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let special = is_special(path);
        // A link stays one, to what is complete.
        let whole = if special { None } else { fs::canonicalize(path).ok() };
        let path = whole.unwrap_or_else(|| path.to_owned());
        let part = (!special).then(|| part_of(&path));
        let at = part.as_ref().unwrap_or(&path);
        // Standard output may be a file that has something already.
        let file = if special { File::options().append(true).open(at) } else { File::create(at) };
        let file = file.with_context(|| format!("cannot write {}", at.display()))?;
        Ok(Self { path, part, file })
    }

    pub(super) fn write(mut self, text: &str) -> anyhow::Result<()> {
        let written = self.file.write_all(text.as_bytes());
        self.named(written)?;
        self.complete()
    }

    fn complete(mut self) -> anyhow::Result<()> {
        let renamed = self
            .part
            .take()
            .map_or(Ok(()), |part| fs::rename(&part, &self.path).inspect_err(|_| remove(&part)));
        self.named(renamed)
    }

    fn named<T>(&self, outcome: io::Result<T>) -> anyhow::Result<T> {
        outcome.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            remove(part);
        }
    }
}

/// Whether there is something at `path` that another file cannot take the place of: a device, a pipe, a directory, or
/// what this process has open, whatever that is.
fn is_special(path: &Path) -> bool {
    let open = ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"];
    open.iter().any(|place| path.starts_with(place))
        || fs::metadata(path).is_ok_and(|known| !known.is_file())
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".part");
    name.into()
}

fn remove(part: &Path) {
    let _gone_already = fs::remove_file(part);
}

/// All files of a run.
pub(super) struct Files {
    csv: Option<Output>,
    json: Option<Output>,
    histogram_log: Option<Output>,
    html: Option<Output>,
}

impl Files {
    pub(super) fn create(args: &FileArgs) -> anyhow::Result<Self> {
        if let Some(dir) = &args.out {
            fs::create_dir_all(dir)
                .with_context(|| format!("cannot make the directory {}", dir.display()))?;
        }
        let create = |path: &Option<PathBuf>, name: &str| {
            let path = path.clone().or_else(|| args.out.as_ref().map(|dir| dir.join(name)));
            path.map(|path| Output::create(&path)).transpose()
        };
        Ok(Self {
            csv: create(&args.csv, "requests.csv")?,
            json: create(&args.json, "summary.json")?,
            histogram_log: create(&args.histogram_log, "latencies.hlog")?,
            html: create(&args.html, "report.html")?,
        })
    }

    /// Those written while the run goes on.
    pub(super) fn outputs(&self) -> anyhow::Result<Outputs> {
        let open = |output: &Option<Output>| {
            output.as_ref().map(|output| output.named(output.file.try_clone())).transpose()
        };
        Ok(Outputs { csv: open(&self.csv)?, histogram_log: open(&self.histogram_log)? })
    }

    /// What is there of them until they are complete.
    pub(super) fn parts(&self) -> Parts {
        let all = [&self.csv, &self.json, &self.histogram_log, &self.html];
        Parts(all.into_iter().flatten().filter_map(|output| output.part.clone()).collect())
    }

    /// Writes what is left to be written, and completes all.
    pub(super) fn write(self, summary: &Summary) -> anyhow::Result<()> {
        for written in [self.csv, self.histogram_log].into_iter().flatten() {
            written.complete()?;
        }
        if let Some(json) = self.json {
            json.write(&(serde_json::to_string_pretty(summary)? + "\n"))?;
        }
        if let Some(html) = self.html {
            html.write(&page::report_html(summary))?;
        }
        Ok(())
    }
}

/// Files that are not complete.
pub(super) struct Parts(Vec<PathBuf>);

impl Parts {
    /// Removes them, where the process ends without an end of the run.
    pub(super) fn remove(&self) {
        self.0.iter().for_each(|part| remove(part));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_has_its_name_when_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("summary.json");
        fs::write(&path, "earlier").unwrap();
        let output = Output::create(&path).unwrap();
        assert_eq!(names(dir.path()), ["summary.json", "summary.json.part"]);
        drop(output);
        assert_eq!(fs::read_to_string(&path).unwrap(), "earlier");
        assert_eq!(names(dir.path()), ["summary.json"]);
        Output::create(&path).unwrap().write("later").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "later");
        assert_eq!(names(dir.path()), ["summary.json"]);
    }

    #[test]
    fn a_link_stays_one() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("run-7.json"), dir.path().join("last.json"));
        fs::write(&path, "earlier").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        Output::create(&link).unwrap().write("later").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&path).unwrap(), "later");
    }

    #[test]
    fn what_is_no_regular_file_is_written_directly() {
        Output::create(Path::new("/dev/null")).unwrap().write("nothing").unwrap();
        assert!(is_special(Path::new("/dev/null")) && is_special(Path::new("/dev/stdout")));
        let dir = tempfile::tempdir().unwrap();
        let refused = Output::create(dir.path()).err().unwrap().to_string();
        assert!(refused.contains("cannot write"), "{refused}");
        let nowhere = dir.path().join("missing/summary.json");
        let refused = Output::create(&nowhere).err().unwrap().to_string();
        assert!(refused.contains("missing/summary.json.part"), "{refused}");
    }
}
