//! The two SSH libraries of Python, by a program each that asserts for itself.

use super::{alice, bytes};
use crate::forwards::shouts;
use crate::harness::{free_port, has_agents, skip_unless};

/// Debian's, whose packages bring the libraries.
const PYTHON: &str = "/usr/bin/python3";

async fn passes(library: &str, program: &str) {
    let (_product, alice, laptop) = alice().await;
    let there = free_port();
    let _server = shouts(&alice, &there.to_string()).await;
    laptop.write("bytes", bytes());
    laptop.write("program.py", program);
    let ended = laptop.run(PYTHON, &["-W", "ignore", "program.py", &there.to_string()]).await;
    ended.exits(0).prints("all is well\n");
    assert!(laptop.holds("back", &bytes()), "by {library}");
}

fn has(library: &str) -> bool {
    let import = std::process::Command::new(PYTHON).args(["-W", "ignore", "-c", &format!("import {library}")]).output();
    import.is_ok_and(|import| import.status.success())
}

#[tokio::test]
async fn paramiko_runs_transfers_and_forwards() {
    skip_unless!(has_agents(), "the pods have no agent");
    skip_unless!(has("paramiko"), "python3-paramiko is not installed");
    passes("paramiko", PARAMIKO).await;
}

#[tokio::test]
async fn asyncssh_runs_transfers_and_forwards() {
    skip_unless!(has_agents(), "the pods have no agent");
    skip_unless!(has("asyncssh"), "python3-asyncssh is not installed");
    passes("asyncssh", ASYNCSSH).await;
}

const PARAMIKO: &str = r#"
import os, paramiko, sys, threading
data = open('bytes', 'rb').read()
client = paramiko.SSHClient()
client.load_host_keys('.ssh/known_hosts')
client.connect('127.0.0.1', int(os.environ['PORT']), os.environ['LOGIN'], key_filename='key',
               allow_agent=False, look_for_keys=False)

stdin, stdout, stderr = client.exec_command('cat; echo "not  out" >&2; exit 3')
def feed():
    stdin.write(data); stdin.channel.shutdown_write()
threading.Thread(target=feed).start()
assert stdout.read() == data
assert stderr.read() == b'not  out\n'
assert stdout.channel.recv_exit_status() == 3

stdin, stdout, _ = client.exec_command('exec 3<&0; (cat <&3) & exit 4')
assert stdout.channel.recv_exit_status() == 4
stdin.write(b'left behind'); stdin.channel.shutdown_write()
assert stdout.read() == b'left behind'

shell = client.invoke_shell()
shell.send(b'echo said:$((40+2)); exit 5\n')
said = b''
while piece := shell.recv(4096): said += piece
assert b'said:42' in said and shell.recv_exit_status() == 5

sftp = client.open_sftp()
sftp.mkdir('folder'); sftp.chdir('folder')
sftp.put('bytes', 'there'); sftp.get('there', 'back')
assert sftp.listdir() == ['there'] and sftp.stat('there').st_size == len(data)
sftp.utime('there', (1, 2)); sftp.truncate('there', 7); sftp.posix_rename('there', 'other')
assert sftp.open('other').read() == data[:7] and sftp.stat('other').st_mtime != 2
try: sftp.open('missing'); assert False
except FileNotFoundError: pass

channel = client.get_transport().open_channel('direct-tcpip', ('127.0.0.1', int(sys.argv[1])), ('127.0.0.1', 1))
channel.sendall(b'forwarded'); channel.shutdown_write()
assert channel.recv(100) == b'FORWARDED'

port = client.get_transport().request_port_forward('127.0.0.1', 0)
_, stdout, _ = client.exec_command(f'''python3 -c "import socket
s = socket.create_connection(('127.0.0.1', {port})); s.sendall(b'from the pod'); s.recv(1)"''')
back = client.get_transport().accept(30)
assert back.recv(100) == b'from the pod'
back.close()
assert stdout.channel.recv_exit_status() == 0
client.close()
print('all is well')
"#;

const ASYNCSSH: &str = r#"
import asyncio, asyncssh, os, sys
data = open('bytes', 'rb').read()
async def main():
    async with asyncssh.connect('127.0.0.1', int(os.environ['PORT']), username=os.environ['LOGIN'],
                                client_keys=['key'], known_hosts='.ssh/known_hosts') as client:
        ended = await client.run('cat; echo "not  out" >&2; exit 3', input=data, encoding=None)
        assert ended.stdout == data and ended.stderr == b'not  out\n' and ended.exit_status == 3

        process = await client.create_process('echo up; exec sleep 1000')
        assert await process.stdout.readline() == 'up\n'
        process.terminate()
        assert (await process.wait()).exit_signal[:3] == ('TERM', False, 'Terminated')

        resized = 'until [ "$(stty size)" = "20 90" ]; do sleep 0.1; done'
        process = await client.create_process(f'stty size; {resized}; echo resized; read line; echo "said $line"',
                                              term_type='xterm', term_size=(100, 30))
        assert await process.stdout.readline() == '30 100\r\n'
        process.change_terminal_size(90, 20)
        assert await process.stdout.readline() == 'resized\r\n'
        process.stdin.write('line\n')
        assert 'said line' in await process.stdout.read()

        async with client.start_sftp_client() as sftp:
            await sftp.put('bytes', 'there'); await sftp.get('there', 'back')
            await sftp.mkdir('folder'); await sftp.symlink('../there', 'folder/link')
            assert await sftp.readlink('folder/link') == '../there'
            assert await sftp.glob('the*') == ['there'] and await sftp.getsize('there') == len(data)
            await sftp.rmtree('folder')

        listener = await client.forward_local_port('127.0.0.1', 0, '127.0.0.1', int(sys.argv[1]))
        reader, writer = await asyncio.open_connection('127.0.0.1', listener.get_port())
        writer.write(b'forwarded'); writer.write_eof()
        assert await reader.read() == b'FORWARDED'

        heard = asyncio.get_running_loop().create_future()
        async def accepted(reader, writer):
            heard.set_result(await reader.read(100)); writer.close()
        server = await asyncio.start_server(accepted, '127.0.0.1', 0)
        back = await client.forward_remote_port('127.0.0.1', 0, '127.0.0.1', server.sockets[0].getsockname()[1])
        ended = await client.run(f'''python3 -c "import socket
s = socket.create_connection(('127.0.0.1', {back.get_port()})); s.sendall(b'from the pod'); s.recv(1)"''')
        assert await heard == b'from the pod' and ended.exit_status == 0
        back.close()
asyncio.run(asyncio.wait_for(main(), 100))
print('all is well')
"#;
