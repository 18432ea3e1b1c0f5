//! Documents as sequences, and statistics, against what others make of the same.

use pellucid::analysis::export::cut::{Cutter, Cutting, Packing, Sequence};
use pellucid::analysis::export::stats::Sums;
use pellucid::text::{Token, Word};
use serde_json::Value;

fn token(id: u32) -> Token {
    Word { id, piece: format!("#{id}"), text: format!("#{id}"), spells: vec![], special: id < 2 }.into()
}

fn cut(how: &Cutting, documents: &[Vec<u32>]) -> Vec<Sequence> {
    let (mut cutter, mut done) = (Cutter::new(how), vec![]);
    for (i, ids) in documents.iter().enumerate() {
        let mut tokens: Vec<Token> = ids.iter().map(|id| token(*id)).collect();
        tokens.iter_mut().enumerate().for_each(|(at, token)| token.bytes = Some(at..at + 1));
        cutter.push(i, &tokens, &mut |sequence| done.push(sequence));
    }
    cutter.finish(&mut |sequence| done.push(sequence));
    done
}

fn ids(sequence: &Sequence) -> Vec<u32> {
    sequence.tokens.iter().map(|token| token.id).collect()
}

/// Of each sequence's tokens with a place, the document and the place.
fn places(sequences: &[Sequence]) -> Vec<(usize, usize)> {
    let of = |s: &Sequence| {
        let own = s.documents.clone().into_iter().flat_map(|(doc, range)| range.map(move |at| (doc, at)));
        let fresh = own.filter(|(_, at)| *at >= s.again);
        fresh.filter_map(|(doc, at)| Some((doc, s.tokens[at].bytes.clone()?.start))).collect::<Vec<_>>()
    };
    sequences.iter().flat_map(of).collect()
}

/// Invariant: Packed documents are the sequences that SAELens's `concat_and_batch_sequences` and sparsify's `chunk_and_tokenize` make of
/// them, the dropped end included.
#[test]
fn packing_is_that_of_saelens_and_sparsify() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../../fixtures/packing.json")).unwrap();
    assert_eq!(cases.len(), 24);
    for case in cases {
        let lists = |name: &str| -> Vec<Vec<u32>> { serde_json::from_value(case[name].clone()).unwrap() };
        let (bos, eos) = (token(0), token(1));
        let none = Packing::default();
        let (pack, bos) = match case["how"].as_str().unwrap() {
            "bos" => (Packing { separator: vec![bos.clone()], leading: false }, Some(bos)),
            "separator" => (Packing { separator: vec![eos], leading: false }, None),
            "separator_and_bos" => (Packing { separator: vec![eos], leading: false }, Some(bos)),
            "eos" => (Packing { separator: vec![eos], leading: true }, None),
            "bos_alone" => (none, Some(bos)),
            other => panic!("{other}"),
        };
        let context = case["context"].as_u64().unwrap() as usize;
        let how = Cutting { context, pack: Some(pack), bos, drop_tail: true, stride: None };
        let (documents, want) = (lists("documents"), lists("sequences"));
        let found = cut(&how, &documents);
        assert!(want.len() > 10);
        assert_eq!(found.iter().map(ids).collect::<Vec<_>>(), want, "{} {} {context}", case["by"], case["how"]);
        // Without dropping, every token of every document is there once, in order.
        let kept = cut(&Cutting { drop_tail: false, ..how }, &documents);
        let all = documents.iter().enumerate().flat_map(|(doc, ids)| (0..ids.len()).map(move |at| (doc, at)));
        assert_eq!(places(&kept), all.collect::<Vec<_>>());
        assert_eq!(kept[..want.len()], found[..]);
    }
}

#[test]
fn documents_alone_are_cut_at_the_context_and_overlap_by_the_stride() {
    let documents: Vec<Vec<u32>> = [0, 1, 4, 5, 6, 11].map(|n| (10..10 + n).collect()).into();
    let plain = Cutting { context: 5, ..Cutting::default() };
    let lengths = |how: &Cutting| cut(how, &documents).iter().map(|s| s.tokens.len()).collect::<Vec<_>>();
    assert_eq!(lengths(&plain), [1, 4, 5, 5, 1, 5, 5, 1]);
    assert_eq!(lengths(&Cutting { drop_tail: true, ..plain.clone() }), [5, 5, 5, 5]);
    let begun = cut(&Cutting { bos: Some(token(0)), ..plain.clone() }, &documents[5..]);
    assert_eq!(
        begun.iter().map(ids).collect::<Vec<_>>(),
        [vec![0, 10, 11, 12, 13], vec![0, 14, 15, 16, 17], vec![0, 18, 19, 20]]
    );
    // A document that begins with BOS has no second one there.
    let first = cut(&Cutting { bos: Some(token(10)), ..plain.clone() }, &documents[5..]);
    assert_eq!(ids(&first[0]), [10, 11, 12, 13, 14]);
    for (stride, bos) in [(1, None), (2, None), (4, None), (5, None), (2, Some(token(0))), (4, Some(token(0)))] {
        let how = Cutting { stride: Some(stride), bos, ..plain.clone() };
        let found = cut(&how, &documents);
        let all = documents.iter().enumerate().flat_map(|(doc, ids)| (0..ids.len()).map(move |at| (doc, at)));
        assert_eq!(places(&found), all.collect::<Vec<_>>(), "{stride}: every token is fresh once");
        let bos = usize::from(how.bos.is_some());
        for two in found.windows(2).filter(|two| two[0].documents[0].0 == two[1].documents[0].0) {
            let begins = |s: &Sequence| s.tokens[bos].bytes.clone().unwrap().start;
            assert_eq!(begins(&two[1]) - begins(&two[0]), stride);
        }
    }
}

/// Against the textbook's sums over all values at once, in f64, however they are cut.
#[test]
fn statistics_are_those_of_all_values_however_they_come() {
    let (width, rows) = (7, 500);
    let mut state = 1u64;
    let mut draw = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    // A mean far from zero beside the spread, and a few large values: sums of powers would lose both.
    let values: Vec<f32> = (0..rows * width).map(|i| 1000.0 + draw() + if i % 97 == 0 { 50.0 } else { 0.0 }).collect();
    let wide: Vec<f64> = values.iter().map(|x| f64::from(*x)).collect();
    let n = wide.len() as f64;
    let mean = wide.iter().sum::<f64>() / n;
    let moment = |power| wide.iter().map(|x| (x - mean).powi(power)).sum::<f64>() / n;
    let (variance, kurtosis) = (moment(2), moment(4) / moment(2).powi(2) - 3.0);
    let mut norms: Vec<f64> = wide.chunks(width).map(|row| row.iter().map(|x| x * x).sum::<f64>().sqrt()).collect();
    let mean_norm = norms.iter().sum::<f64>() / norms.len() as f64;
    norms.sort_by(f64::total_cmp);
    for cuts in [vec![500], vec![1, 499], vec![250, 250], vec![3; 166].into_iter().chain([2]).collect()] {
        let (mut all, mut from) = (Sums::default(), 0);
        for rows in cuts {
            all.add(&Sums::of(&values[from * width..(from + rows) * width], width));
            from += rows;
        }
        assert_eq!(from, rows);
        // JSON keeps every bit.
        let again: Sums = serde_json::from_str(&serde_json::to_string(&all).unwrap()).unwrap();
        assert_eq!(again, all);
        // 3,500 terms of one sign in f64: gamma(3500) is 4e-13, of sums that are the size of what they are compared with; central
        // moments are of values 1,000 times as small as the mean, whose rounding, 1e-13 of it, is in each of them.
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs();
        assert!(close(all.mean(), mean) && close(all.std(), variance.sqrt()), "{} {mean}", all.mean());
        assert!(close(all.excess_kurtosis(), kurtosis), "{} {kurtosis}", all.excess_kurtosis());
        assert!(close(all.mean_norm(), mean_norm));
        assert_eq!(all.max_abs, values.iter().fold(0.0, |most, x| x.abs().max(most)));
        let (median, error) = all.median_norm();
        assert!((median - norms[(500 - 1) / 2]).abs() <= error && error < 0.004 * median, "{median} {error}");
    }
    let zeros = Sums::of(&[0.0; 14], 7);
    assert_eq!((zeros.median_norm().0, zeros.mean_norm(), zeros.std()), (0.0, 0.0, 0.0));
}
