//! One JSON file per object: `objects/RESOURCE/NAMESPACE/NAME.json`, replaced whole by a rename.

use super::{Error, Key};
use crate::minik8s::object;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Stands for the namespace of what has none; no namespace can have this name.
const CLUSTER: &str = "_";
/// Revisions are reserved on disk in blocks, so that they never repeat and rarely cost a write.
const REVISION_BLOCK: u64 = 1000;
/// Worth nothing to the next run, and written often; a lease of a dead process would only hold up the next.
const NOT_KEPT: [&str; 2] = ["events", "leases.coordination.k8s.io"];

pub(super) struct Disk {
    folder: PathBuf,
    reserved: u64,
}

type Loaded = (Disk, BTreeMap<Key, Arc<Value>>, u64);

pub(super) fn open(folder: &Path) -> Result<Loaded, Error> {
    let failed = |source| Error::Load { path: folder.display().to_string(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    let mut objects = BTreeMap::new();
    for resource in subfolders(folder).map_err(failed)? {
        for namespace in subfolders(&resource).map_err(failed)? {
            for file in files(&namespace).map_err(failed)? {
                match load(&resource, &namespace, &file) {
                    Ok((key, value)) => drop(objects.insert(key, Arc::new(value))),
                    Err(problem) => set_aside(folder, &file, &problem).map_err(failed)?,
                }
            }
        }
    }

    let reserved =
        fs::read_to_string(folder.join("revision")).ok().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0);
    let newest = objects.values().filter_map(|value| object::revision(value).parse::<u64>().ok()).max().unwrap_or(0);
    let revision = reserved.max(newest);
    let disk = Disk { folder: folder.to_owned(), reserved: revision };
    Ok((disk, objects, revision))
}

impl Disk {
    pub(super) fn next_revision(&mut self, last: u64) -> Result<u64, Error> {
        let next = last + 1;
        if next > self.reserved {
            let reserved = next + REVISION_BLOCK;
            let path = self.folder.join("revision");
            replace(&path, reserved.to_string().as_bytes())?;
            self.reserved = reserved;
        }
        Ok(next)
    }

    pub(super) fn save(&self, key: &Key, value: &Value) -> Result<(), Error> {
        if NOT_KEPT.contains(&key.resource.as_str()) {
            return Ok(());
        }
        replace(&self.path(key), value.to_string().as_bytes())
    }

    pub(super) fn remove(&self, key: &Key) -> Result<(), Error> {
        let path = self.path(key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(save_error(&path, error)),
            _ => Ok(()),
        }
    }

    /// The API server lets no slash and no `..` into these names.
    fn path(&self, key: &Key) -> PathBuf {
        let namespace = match key.namespace.as_str() {
            "" => CLUSTER,
            namespace => namespace,
        };
        self.folder.join(&key.resource).join(namespace).join(format!("{}.json", key.name))
    }
}

fn replace(path: &Path, content: &[u8]) -> Result<(), Error> {
    let write = || {
        let folder = path.parent().expect("every stored file is in a folder");
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        io::Write::write_all(&mut file, content)?;
        file.persist(path).map_err(|error| error.error)
    };
    write().map(drop).map_err(|error| save_error(path, error))
}

fn save_error(path: &Path, source: io::Error) -> Error {
    Error::Save { path: path.display().to_string(), source }
}

fn load(resource: &Path, namespace: &Path, file: &Path) -> Result<(Key, Value), String> {
    let content = fs::read(file).map_err(|error| error.to_string())?;
    let value: Value = serde_json::from_slice(&content).map_err(|error| error.to_string())?;
    let named = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let namespace = match named(namespace).as_str() {
        CLUSTER => String::new(),
        namespace => namespace.to_owned(),
    };
    if object::namespace(&value) != namespace
        || format!("{}.json", object::name(&value)) != named(file)
        || object::uid(&value).is_empty()
    {
        return Err("its metadata is not that of its place".to_owned());
    }
    let key = Key::new(&named(resource), &namespace, object::name(&value));
    Ok((key, value))
}

/// A file that cannot be read is kept for a person to look at, out of the way of the next start.
fn set_aside(folder: &Path, file: &Path, problem: &str) -> io::Result<()> {
    let aside = folder.with_file_name("objects-unreadable");
    fs::create_dir_all(&aside)?;
    let flat = file.strip_prefix(folder).unwrap_or(file).to_string_lossy().replace('/', "_");
    let to = aside.join(flat);
    tracing::error!(file = %file.display(), to = %to.display(), problem, "a stored object is unreadable, set aside");
    fs::rename(file, to)
}

fn subfolders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    entries(folder, |kind| kind.is_dir())
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = entries(folder, |kind| kind.is_file())?;
    // What a crash left between the writing and the rename.
    files.retain(|path| {
        let whole = path.extension().is_some_and(|extension| extension == "json");
        if !whole {
            let _ = fs::remove_file(path);
        }
        whole
    });
    Ok(files)
}

fn entries(folder: &Path, wanted: impl Fn(fs::FileType) -> bool) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if wanted(entry.file_type()?) {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}
