//! Weights in files that torch.save wrote: views of every kind come out right, and nothing but tensors comes out.

use candle_core::Tensor;
use pellucid::Result;
use pellucid::model::{Batch, Model};

use crate::bin::{Place, fixture};
use crate::forge;
use crate::reference::same_bits;

const IDS: [u32; 5] = [3, 14, 15, 92, 65];

fn logits(dir: &std::path::Path) -> Result<Tensor> {
    Model::load(dir)?.forward(&Batch::one(IDS), &mut [])
}

/// A model's folder with the config of the fixture and `files` of it.
fn folder(place: &Place, files: &[(&str, &str)]) -> std::path::PathBuf {
    for (from, to) in [("config.json", "config.json")].iter().chain(files) {
        place.write(&format!("m/{to}"), fs_err::read(fixture("torch").join(from)).unwrap());
    }
    place.path("m")
}

/// What the fixture's weights are, but for the bias that is one number everywhere.
fn same_weights(place: &Place) -> std::path::PathBuf {
    let name = forge::copy(place, "hooked_attn_only", "same");
    forge::weights(place, &name, |tensors| {
        let (_, _, bytes) = tensors.get_mut("blocks.0.attn.b_O").unwrap();
        *bytes = 0.25f32.to_le_bytes().repeat(bytes.len() / 4);
    });
    place.path(&name)
}

/// Invariant: Files of torch.save are read as the tensors they hold; anything else in them is refused.
#[test]
fn views_parameters_and_other_dtypes_are_the_tensors_they_mean() -> Result<()> {
    for name in ["anything.pt", "anything.pth", "pytorch_model.bin"] {
        let place = Place::new();
        let dir = folder(&place, &[("state_dict.pt", name)]);
        same_bits(name, &logits(&dir)?, &logits(&same_weights(&place))?);
    }
    Ok(())
}

#[test]
fn shards_are_found_by_their_index() -> Result<()> {
    let place = Place::new();
    let shards =
        ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin", "pytorch_model.bin.index.json"];
    let dir = folder(&place, &shards.map(|name| (name, name)));
    same_bits("shards", &logits(&dir)?, &logits(&fixture("hooked_attn_only"))?);
    fs_err::remove_file(dir.join(shards[1])).unwrap();
    assert!(
        Model::load(&dir).unwrap_err().message().contains("names pytorch_model-00002-of-00002.bin, which is missing")
    );
    Ok(())
}

/// Invariant: as `views_parameters_and_other_dtypes_are_the_tensors_they_mean`.
#[test]
fn what_holds_more_or_other_than_tensors_is_refused() {
    for (file, says) in [
        ("checkpoint.pt", "`model` is a dictionary"),
        ("module.pt", "it is of the class torch.nn.modules.linear.Linear"),
        ("hostile.pt", "`hostile` is of the class posix.system"),
        ("old.pt", "before version 1.6"),
        ("protocol4.pt", "its pickle has protocol 4, and torch.save writes 2"),
    ] {
        let place = Place::new();
        folder(&place, &[(file, file)]);
        let done = place.refused(["lens", "-m", "m", "--ids", "1"], 1, says);
        assert!(done.stderr.contains(file) && done.stderr.contains("hint: "), "{}", done.stderr);
    }
}

/// A file that is cut off or changed anywhere is refused or, where the change is in a value or in what nobody reads,
/// loaded; it ends no program.
#[test]
fn broken_files_are_refused() {
    let place = Place::new();
    let dir = folder(&place, &[]);
    let whole = fs_err::read(fixture("torch").join("state_dict.pt")).unwrap();
    let mut refused = 0;
    for i in 0..400 {
        let mut bytes = whole.clone();
        let at = i * whole.len() / 400;
        match i % 4 {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 0xff,
            // The pickle comes first, and says most.
            2 => bytes[i * 8] = bytes[i * 8].wrapping_add(1),
            _ => bytes[i * 8 + 5] = [b'R', b'h', b'q', 0x85, b'(', b'u', b'.', 0x8a][i / 4 % 8],
        }
        fs_err::write(dir.join("m.pt"), &bytes).unwrap();
        if let Err(error) = Model::load(&dir) {
            refused += 1;
            assert!(error.message().chars().count() < 500, "{error}");
        }
    }
    assert!(refused > 150, "{refused}");
}

/// Safetensors are read before what torch.save wrote, even if both are there and differ.
#[test]
fn safetensors_come_first() -> Result<()> {
    let place = Place::new();
    let name = forge::copy(&place, "gpt2", "m");
    place.write("m/pytorch_model.bin", b"not looked at");
    same_bits("gpt2", &logits(&place.path(&name))?, &logits(&fixture("gpt2"))?);
    Ok(())
}

/// A zip archive that compresses nothing, as torch.save writes them.
pub fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (vec![], vec![]);
    for (name, data) in entries {
        let (at, size) = (bytes.len() as u32, (data.len() as u32).to_le_bytes());
        // Version, flags, method, time, date; a checksum that a raw reader does not compare; sizes; lengths.
        let head = |out: &mut Vec<u8>| {
            out.extend([20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            out.extend(size);
            out.extend(size);
            out.extend((name.len() as u16).to_le_bytes());
            out.extend([0, 0]);
        };
        bytes.extend(b"PK\x03\x04");
        head(&mut bytes);
        bytes.extend(name.as_bytes());
        bytes.extend(*data);
        directory.extend(b"PK\x01\x02\x14\x00");
        head(&mut directory);
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, n) = (bytes.len() as u32, (entries.len() as u16).to_le_bytes());
    let size = directory.len() as u32;
    bytes.extend(directory);
    bytes.extend(b"PK\x05\x06\x00\x00\x00\x00");
    bytes.extend([n, n].concat());
    bytes.extend(size.to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}
