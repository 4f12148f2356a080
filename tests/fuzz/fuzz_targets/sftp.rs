#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bastion::fuzzing::sftp(data));
