//! Files of torch.save that are small and ask for much: they are refused, within memory that the file's size explains.

use std::collections::BTreeMap;

use pellucid::model::{Batch, Model};

use crate::bin::{Place, fixture};
use crate::forge;
use crate::hostile::bombs::{ITSELF, refused, run};
use crate::model::torch::archive;
use crate::reference::same_bits;

/// A tensor in a pickle: the key of its storage, its shape and strides.
struct View {
    key: String,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl View {
    /// All of a storage, in the order of rows.
    fn whole(key: &str, shape: &[usize]) -> Self {
        let strides = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
        Self { key: key.to_owned(), shape: shape.to_vec(), strides }
    }

    /// The pickled tensor, as torch.save writes it.
    fn pickled(&self) -> Vec<u8> {
        let sizes =
            |all: &[usize]| [&b"("[..], &all.iter().flat_map(|n| number(*n)).collect::<Vec<_>>(), b"t"].concat();
        let storage =
            [&b"("[..], &text("storage"), b"ctorch\nFloatStorage\n", &text(&self.key), &text("cpu"), b"K\x01tQ"];
        let args = [
            &storage.concat()[..],
            b"K\x00",
            &sizes(&self.shape),
            &sizes(&self.strides),
            b"\x89ccollections\nOrderedDict\n)Rt",
        ];
        [b"ctorch._utils\n_rebuild_tensor_v2\n(", &args.concat()[..], b"R"].concat()
    }
}

fn text(text: &str) -> Vec<u8> {
    [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

fn number(n: usize) -> Vec<u8> {
    [&b"\x8a\x08"[..], &n.to_le_bytes()].concat()
}

/// The pickle of a state dict.
fn pickle<'a>(tensors: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Vec<u8> {
    let items: Vec<u8> = tensors.into_iter().flat_map(|(name, tensor)| [text(name), tensor].concat()).collect();
    [&b"\x80\x02}("[..], &items, b"u."].concat()
}

/// The tiny GPT-2 at `m`, its weights in a file of torch.save, with `change` made to what the pickle says of them.
fn gpt2(place: &Place, change: impl FnOnce(&mut BTreeMap<String, View>)) {
    let name = forge::copy(place, "gpt2", "m");
    let tensors = forge::tensors(place, &name);
    fs_err::remove_file(place.path("m/model.safetensors")).unwrap();
    let mut views = tensors.iter().map(|(name, (_, shape, _))| (name.clone(), View::whole(name, shape))).collect();
    change(&mut views);
    let pickle = pickle(views.iter().map(|(name, view)| (name.as_str(), view.pickled())));
    let keys: Vec<String> = tensors.keys().map(|key| format!("a/data/{key}")).collect();
    let mut entries: Vec<(&str, &[u8])> = vec![("a/data.pkl", &pickle)];
    entries.extend(keys.iter().zip(tensors.values()).map(|(key, (_, _, data))| (key.as_str(), &data[..])));
    place.write("m/m.pt", archive(&entries));
}

const LENS: [&str; 5] = ["lens", "-m", "m", "--ids", "1,2"];

/// The files of this test are what torch.save means by them, where nobody tampers with them.
#[test]
fn what_is_not_tampered_with_is_the_model() -> pellucid::Result<()> {
    let place = Place::new();
    gpt2(&place, |_| {});
    let logits = |dir: &std::path::Path| Model::load(dir)?.forward(&Batch::one([3, 14, 15]), &mut []);
    same_bits("gpt2", &logits(&place.path("m"))?, &logits(&fixture("gpt2"))?);
    Ok(())
}

/// Invariant: A pickle cannot exhaust stack or memory, nor can a view that repeats its numbers.
#[test]
fn pickles_that_explode_are_refused() {
    let put = |i: u32| [&b"r"[..], &i.to_le_bytes()].concat();
    let (long, wide) = ("x".repeat(1_000_000), b"K\x01".repeat(500_000));
    let copies: Vec<u8> = (0..60u8).flat_map(|i| [b'h', i, b'h', i, 0x86, b'q', i + 1]).collect();
    let kept: Vec<u8> = (0..100_000).flat_map(put).collect();
    let view = |shape: &[u8]| {
        let storage = [&b"("[..], &text("storage"), b"ctorch\nFloatStorage\n", &text("0"), b"tQK\x00"].concat();
        [b"ctorch._utils\n_rebuild_tensor_v2\n(", &storage[..], shape, shape, b"tR"].concat()
    };
    let names: Vec<String> = (0..50_000).map(|i| i.to_string()).collect();
    let many = |shape: &[u8]| pickle(names.iter().map(|name| (name.as_str(), view(shape))));
    // A value that is kept in the memo; on the stack it lies below what the pickle ends with.
    let shared = |value: &[u8], rest: &[u8]| [b"\x80\x02", value, b"q\x00", rest].concat();
    for (what, pickle, says) in [
        ("one text, kept again and again", [b"\x80\x02", &text(&long)[..], &kept, b"."].concat(), "it is a text"),
        ("one text, taken up again and again", shared(&text(&long), &b"h\x00".repeat(100_000)), "cut off"),
        ("doubled", [&b"\x80\x02)q\x00"[..], &copies, b"."].concat(), "it is a list"),
        ("nested", [&b"\x80\x02)"[..], &[0x85; 3_000_000], b"."].concat(), "a pickle of more than 1048576 values"),
        ("nested calls", [&b"\x80\x02cos\nsystem\nq\x00"[..], &b")R".repeat(500_000), b"."].concat(), "something else"),
        ("marks", [&b"\x80\x02"[..], &[b'('; 3_000_000], b"."].concat(), "a pickle of more than 1048576 values"),
        (
            "dictionaries",
            [&b"\x80\x02"[..], &b"}K\x01".repeat(500_000), b"N", &b"s".repeat(500_000), b"."].concat(),
            "a name is a number",
        ),
        ("a length that is not there", b"\x80\x02X\xff\xff\xff\xffa.".to_vec(), "its pickle is cut off"),
        ("a dictionary that gets itself", b"\x80\x02}q\x00h\x00h\x00s.".to_vec(), "a name is a dictionary"),
        (
            "one shape for all",
            shared(&[&b"("[..], &wide, b"t"].concat(), &many(b"h\x00")[2..]),
            "`0` is of the class torch._utils._rebuild_tensor_v2",
        ),
        (
            "one name for all",
            shared(&text("a"), &[&b"}("[..], &b"h\x00N".repeat(100_000), b"u."].concat()),
            "the tensor `a` is there twice",
        ),
        (
            "a long name",
            shared(&text(&long), &[&b"}("[..], &b"h\x00N".repeat(100_000), b"u."].concat()),
            "a name of 1000000 bytes, `xxx",
        ),
        (
            "attributes",
            [&b"\x80\x02}}q\x00"[..], &b"bh\x00".repeat(500_000), b"b."].concat(),
            "the weights have no tensor",
        ),
    ] {
        let place = Place::new();
        place.write("m/config.json", fs_err::read(fixture("torch").join("config.json")).unwrap());
        let size = pickle.len();
        place.write("m/m.pt", archive(&[("a/data.pkl", &pickle), ("a/data/0", &[0; 4])]));
        println!("{what}: {size} bytes");
        // A value of a pickle takes 100 bytes at most, and is at least one of its bytes; a list that grows has twice its length.
        let bytes = 2.0 * 100.0 * size.min(1 << 20) as f64;
        refused(&place, &["lens", "-m", "m", "--ids", "1"], 1, says, bytes);
    }
}

/// Views that repeat one number: planned where they are small, refused where they are gigabytes.
///
/// Invariant: as `pickles_that_explode_are_refused`.
#[test]
fn views_that_are_larger_than_their_files_are_refused() {
    // The largest vocabulary that a config may have: a gigabyte of one number.
    let huge = 1 << 24;
    for (what, tamper) in [
        ("stride 0", &(|view: &mut View| view.strides = vec![0, 0]) as &dyn Fn(&mut View)),
        ("rows that overlap", &|view| view.strides = vec![0, 1]),
    ] {
        let place = Place::new();
        gpt2(&place, |views| {
            let view = views.get_mut("transformer.wte.weight").unwrap();
            view.shape[0] = huge;
            tamper(view);
        });
        forge::config(&place, "m", |config| drop(config.insert("vocab_size".into(), huge.into())));
        println!("{what}");
        for command in [&LENS[..], &["model", "-m", "m"]] {
            refused(&place, command, 1, "views such as `transformer.wte.weight` repeat their numbers", 0.0);
        }
        let error = Model::load(&place.path("m")).unwrap_err();
        assert!(error.message().contains("repeat their numbers"), "{error}");
    }
}

/// Tied views are compared without either being copied.
///
/// Invariant: as `pickles_that_explode_are_refused`.
#[test]
fn tied_views_are_compared_where_they_lie() {
    let place = Place::new();
    // As much as is allowed, which is 64 MB.
    let rows = 1 << 20;
    gpt2(&place, |views| {
        let shape = vec![rows, 16];
        let view = views.get_mut("transformer.wte.weight").unwrap();
        (view.shape, view.strides) = (shape.clone(), vec![0, 1]);
        let head = View { key: "transformer.wpe.weight".into(), shape, strides: vec![0, 1] };
        views.insert("lm_head.weight".into(), head);
    });
    forge::config(&place, "m", |config| drop(config.insert("vocab_size".into(), rows.into())));
    refused(&place, &LENS, 1, "embedding and unembedding are tied, but", 0.0);
}

/// A part of the archive that is compressed could be of any size; torch.save compresses nothing.
///
/// Invariant: as `pickles_that_explode_are_refused`.
#[test]
fn compressed_parts_are_refused() {
    let place = Place::new();
    place.write("m/config.json", fs_err::read(fixture("torch").join("config.json")).unwrap());
    let mut bytes = archive(&[("a/data.pkl", b"\x80\x02}.")]);
    let directory = bytes.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    (bytes[8], bytes[directory + 10]) = (8, 8);
    place.write("m/m.pt", bytes);
    refused(&place, &["lens", "-m", "m", "--ids", "1"], 1, "its part a/data.pkl is compressed or cut off", 0.0);
}

/// An index of shards that names very many tensors takes what its bytes are, and one of very many shards is none.
#[test]
fn an_index_takes_no_more_than_its_bytes() {
    let place = Place::new();
    forge::copy(&place, "gpt2", "m");
    fs_err::rename(place.path("m/model.safetensors"), place.path("m/a.safetensors")).unwrap();
    let index = |entry: &dyn Fn(usize) -> String, n: usize| {
        let entries: Vec<String> = (0..n).map(entry).collect();
        place.write("m/model.safetensors.index.json", format!("{{\"weight_map\": {{{}}}}}", entries.join(",")));
    };
    index(&|i| format!("\"{i}\":\"a.safetensors\""), 1_000_000);
    let size = place.read("m/model.safetensors.index.json").len() as f64;
    let (most, done) = run(&place, &[&LENS[..], &["-q"]].concat());
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    println!("{:.0} MB for an index of {:.0} MB", most / 1e6, size / 1e6);
    assert!(most < ITSELF + 3.0 * size, "{most}");
    index(&|i| format!("\"{i}\":\"{i}.safetensors\""), 20_000);
    refused(&place, &LENS, 1, "names more than 9999 shards", 1e7);
}

/// A bias that is one number everywhere is a view that torch.save writes as such: it is read, and planned as what it takes.
///
/// Invariant: A view that must be copied is counted as a copy in the memory plan.
#[test]
fn a_small_view_that_repeats_is_read_and_planned() {
    let (place, usual) = (Place::new(), Place::new());
    let bias = "transformer.h.0.mlp.c_fc.bias";
    gpt2(&place, |views| views.get_mut(bias).unwrap().strides = vec![0]);
    gpt2(&usual, |_| {});
    let copied = |place: &Place| {
        let said = place.ok(["lens", "-v", "-m", "m", "--ids", "1,2", "--out", "run"]).stderr;
        said.lines().find(|line| line.starts_with("needs ")).unwrap().to_owned()
    };
    let (with, without) = (copied(&place), copied(&usual));
    assert_ne!(with, without, "a view that is gathered is not planned as a copy");
}
