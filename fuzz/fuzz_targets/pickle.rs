//! The pickle in a file of torch.save, in an archive that is as it should be.
#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;
use pellucid::model::Model;
use pellucid_fuzz::{Folder, check, fixture};
use zip::write::SimpleFileOptions;

fuzz_target!(|bytes: &[u8]| {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let storage = [0; 256];
    for (name, content) in [("data.pkl", bytes), ("data/0", &storage), ("data/1", &storage), ("version", b"3\n")] {
        archive.start_file(format!("archive/{name}"), stored).expect("a name");
        archive.write_all(content).expect("memory");
    }
    let file = archive.finish().expect("memory").into_inner();
    let folder = Folder::with(&[("config.json", fixture("config.json")), ("pytorch_model.bin", &file)]);
    check(|| Model::load(folder.path()));
});
