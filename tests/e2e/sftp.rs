//! SFTP by packets: what OpenSSH's client does not ask for, or not so that it shows.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// More than 32 bits can tell, in bytes.
const FAR: u64 = (5 << 30) + 7;

/// The agent's server, on files of this machine, and a client that counts its requests.
struct Talk {
    server: Child,
    to: Option<ChildStdin>,
    from: ChildStdout,
    requests: u32,
}

/// The fields of a packet.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn u32(mut self, number: u32) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn u64(mut self, number: u64) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn string(self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        let mut fields = self.u32(u32::try_from(bytes.len()).expect("it is short"));
        fields.0.extend(bytes);
        fields
    }
}

fn extended(name: &str) -> Fields {
    Fields::default().string(name)
}

fn take_string(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (size, rest) = bytes.split_first_chunk().expect("a string has a length");
    rest.split_at(u32::from_be_bytes(*size) as usize)
}

const OPEN: u8 = 3;
const READ: u8 = 5;
const WRITE: u8 = 6;
const FSTAT: u8 = 8;
const EXTENDED: u8 = 200;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRS: u8 = 105;
const EXTENDED_REPLY: u8 = 201;
const READ_WRITE_CREATE: u32 = 1 | 2 | 8;
const OK: u32 = 0;

impl Talk {
    /// `folder` is its home, and where relative paths begin.
    fn start(folder: &Path) -> Self {
        let mut server = Command::new(env!("CARGO_BIN_EXE_bastion-agent"))
            .arg("sftp")
            .current_dir(folder)
            .env("HOME", folder)
            .env("USER", "dev")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it was built");
        let (to, from) = (server.stdin.take(), server.stdout.take().expect("it is piped"));
        let mut talk = Self { server, to, from, requests: 0 };
        talk.send(1, &3_u32.to_be_bytes());
        let (kind, offered) = talk.receive();
        assert_eq!((kind, &offered[..4]), (2, &[0, 0, 0, 3][..]));
        talk
    }

    fn send(&mut self, kind: u8, rest: &[u8]) {
        let size = u32::try_from(rest.len() + 1).expect("it is short").to_be_bytes();
        let packet = [&size[..], &[kind], rest].concat();
        self.to.as_mut().expect("it is open").write_all(&packet).expect("the server reads");
    }

    fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut size = [0; 4];
        self.from.read_exact(&mut size).expect("the server answers");
        let mut packet = vec![0; u32::from_be_bytes(size) as usize];
        self.from.read_exact(&mut packet).expect("the server answers in full");
        let rest = packet.split_off(1);
        (packet[0], rest)
    }

    /// The answer's kind and its fields.
    fn ask(&mut self, kind: u8, fields: Fields) -> (u8, Vec<u8>) {
        self.requests += 1;
        let id = self.requests.to_be_bytes();
        self.send(kind, &[&id[..], &fields.0].concat());
        let (kind, mut rest) = self.receive();
        let fields = rest.split_off(4);
        assert_eq!(rest, id, "an answer to another request");
        (kind, fields)
    }

    #[track_caller]
    fn status(&mut self, kind: u8, fields: Fields) -> u32 {
        let (kind, fields) = self.ask(kind, fields);
        assert_eq!(kind, STATUS, "{fields:?}");
        u32::from_be_bytes(*fields.first_chunk().expect("it has a code"))
    }

    fn open(&mut self, path: &str) -> Vec<u8> {
        let (kind, fields) = self.ask(OPEN, Fields::default().string(path).u32(READ_WRITE_CREATE).u32(0));
        assert_eq!(kind, HANDLE, "{}", String::from_utf8_lossy(&fields));
        take_string(&fields).0.to_vec()
    }

    /// The one name of the answer.
    fn name(&mut self, fields: Fields) -> String {
        let (kind, fields) = self.ask(EXTENDED, fields);
        assert_eq!((kind, &fields[..4]), (NAME, &[0, 0, 0, 1][..]));
        String::from_utf8(take_string(&fields[4..]).0.to_vec()).expect("paths here are text")
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.to = None;
        let ended = self.server.wait();
        if !std::thread::panicking() {
            assert!(ended.expect("it is our child").success(), "the server ends well");
        }
    }
}

#[test]
fn paths_are_expanded_by_whoever_knows_the_home() {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let home = fs::canonicalize(folder.path()).expect("it is there").display().to_string();
    fs::create_dir(folder.path().join("there")).expect("the folder is ours");
    let mut talk = Talk::start(Path::new(&home));
    let paths =
        [("~", home.clone()), ("~/there", format!("{home}/there")), ("there/..", home.clone()), ("/", "/".into())];
    for (path, expanded) in paths {
        assert_eq!(talk.name(extended("expand-path@openssh.com").string(path)), expanded, "{path}");
    }
    let (kind, refused) = talk.ask(EXTENDED, extended("expand-path@openssh.com").string("~nobody-here/there"));
    assert!(kind == STATUS && String::from_utf8_lossy(&refused).contains("no such user: nobody-here"));
    assert_eq!(talk.name(extended("home-directory").string("root")), "/root");
    for whose in ["", "dev", "somebody"] {
        assert_eq!(talk.name(extended("home-directory").string(whose)), home, "{whose:?}");
    }
}

#[test]
fn a_link_is_changed_and_not_what_it_leads_to() {
    const TIMES: u32 = 8;
    const OWNER: u32 = 2;
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    fs::write(&file, "text").expect("the folder is ours");
    symlink("file", &link).expect("the folder is ours");
    let before = fs::metadata(&file).expect("it is there");
    let mut talk = Talk::start(folder.path());
    let lsetstat = || extended("lsetstat@openssh.com").string("link");
    assert_eq!(talk.status(EXTENDED, lsetstat().u32(TIMES).u32(86_400).u32(86_401)), OK);
    let (uid, gid) = (before.uid(), before.gid());
    assert_eq!(talk.status(EXTENDED, lsetstat().u32(OWNER).u32(uid).u32(gid)), OK);
    let changed = fs::symlink_metadata(&link).expect("it is there");
    assert_eq!((changed.atime(), changed.mtime()), (86_400, 86_401));
    assert_eq!(fs::metadata(&file).expect("it is there").mtime(), before.mtime());
    let missing = extended("lsetstat@openssh.com").string("missing").u32(TIMES).u32(1).u32(1);
    assert_eq!(talk.status(EXTENDED, missing), 2, "no such file");
}

#[test]
fn open_files_are_synced_and_their_file_system_is_told() {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let mut talk = Talk::start(folder.path());
    let file = talk.open("file");
    assert_eq!(talk.status(WRITE, Fields::default().string(&file).u64(0).string("text")), OK);
    assert_eq!(talk.status(EXTENDED, extended("fsync@openssh.com").string(&file)), OK);
    assert_eq!(talk.status(EXTENDED, extended("fsync@openssh.com").string("none")), 4, "no such handle");
    let (kind, numbers) = talk.ask(EXTENDED, extended("fstatvfs@openssh.com").string(&file));
    let numbers: Vec<u64> = numbers.as_chunks().0.iter().map(|number| u64::from_be_bytes(*number)).collect();
    assert_eq!((kind, numbers.len()), (EXTENDED_REPLY, 11), "{numbers:?}");
    let there = rustix::fs::statvfs(folder.path()).expect("Linux tells");
    assert_eq!((numbers[0], numbers[1], numbers[2], numbers[10]), (there.f_bsize, there.f_frsize, there.f_blocks, 255));
}

/// What it answers is what it does: clients choose the size of their packets by it, and how much they keep open.
#[test]
fn limits_are_told_as_they_are() {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let mut talk = Talk::start(folder.path());
    let (kind, numbers) = talk.ask(EXTENDED, extended("limits@openssh.com"));
    let numbers: Vec<u64> = numbers.as_chunks().0.iter().map(|number| u64::from_be_bytes(*number)).collect();
    let [packet, read, write, handles] = numbers[..] else { panic!("{numbers:?}") };
    assert_eq!((kind, packet, read, write), (EXTENDED_REPLY, 256 << 10, 255 << 10, 255 << 10));
    let size = |size: u64| usize::try_from(size).expect("it is small");

    let file = talk.open("file");
    let write = |data: u64| Fields::default().string(&file).u64(0).string(vec![7; size(data)]);
    // A packet has its kind, its number and its other fields beside the data.
    let around = 1 + 4 + write(0).0.len() as u64;
    assert_eq!(talk.status(WRITE, write(packet - around)), OK);
    let (kind, data) = talk.ask(READ, Fields::default().string(&file).u64(0).u32(u32::MAX));
    assert_eq!((kind, take_string(&data).0.len()), (DATA, size(read)), "no more is read at once");

    let limits = fs::read_to_string(format!("/proc/{}/limits", talk.server.id())).expect("it runs");
    let open_files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("Linux tells");
    let open_files: u64 = open_files.split_whitespace().next().expect("the soft limit").parse().expect("a number");
    assert!(handles + 32 > open_files && handles < open_files, "{handles} of {open_files}");
}

#[test]
fn bytes_beyond_four_gigabytes_are_where_they_belong() {
    const COPY: &str = "copy-data";
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let mut talk = Talk::start(folder.path());
    let file = talk.open("large");
    assert_eq!(talk.status(WRITE, Fields::default().string(&file).u64(FAR).string("far away")), OK);
    assert_eq!(talk.status(WRITE, Fields::default().string(&file).u64(FAR % (1 << 32)).string("nearby")), OK);
    let (kind, read) = talk.ask(READ, Fields::default().string(&file).u64(FAR + 4).u32(100));
    assert_eq!((kind, take_string(&read).0), (DATA, &b"away"[..]));
    assert_eq!(talk.status(READ, Fields::default().string(&file).u64(FAR + 8).u32(1)), 1, "the end");
    let (kind, attributes) = talk.ask(FSTAT, Fields::default().string(&file));
    assert_eq!((kind, attributes[4..12].first_chunk()), (ATTRS, Some(&(FAR + 8).to_be_bytes())));
    let other = talk.open("other");
    let copy = extended(COPY).string(&file).u64(FAR).u64(8).string(&other).u64(FAR + 100);
    assert_eq!(talk.status(EXTENDED, copy), OK);
    drop(talk);
    let mut copied = [0; 8];
    let other = fs::File::open(folder.path().join("other")).expect("it was made");
    other.read_exact_at(&mut copied, FAR + 100).expect("it was copied there");
    assert_eq!(&copied, b"far away");
}

/// OpenSSH's client goes on in a large file, both ways.
#[test]
fn a_large_file_is_gone_on_with_beyond_four_gigabytes() {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let make = |name: &str, size: u64, end: &[u8]| {
        let file = fs::File::create(folder.path().join(name)).expect("the folder is ours");
        file.set_len(size).expect("holes are free");
        file.write_all_at(end, size - end.len() as u64).expect("the folder is ours");
    };
    make("whole", FAR, b"the end");
    for half in ["got", "put"] {
        make(half, FAR - 100_000, b"");
    }
    let server = format!("{} sftp", env!("CARGO_BIN_EXE_bastion-agent"));
    let mut client = Command::new("sftp")
        .args(["-q", "-b", "-", "-D", &server])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sftp is installed");
    let commands = b"reget whole got\nreput whole put\n";
    client.stdin.take().expect("it is piped").write_all(commands).expect("sftp reads");
    let output = client.wait_with_output().expect("it is our child");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["got", "put"] {
        let file = fs::File::open(folder.path().join(name)).expect("it is there");
        assert_eq!(file.metadata().expect("Linux tells").len(), FAR, "{name}");
        let mut end = [0; 7];
        file.read_exact_at(&mut end, FAR - 7).expect("it is so large");
        assert_eq!(&end, b"the end", "{name}");
    }
}
