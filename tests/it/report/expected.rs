//! `[expect]`: every claim that can be written, held against numbers that are known by other means.

use super::place;

/// Invariant: An assertion on results holds exactly where the table says so.
#[test]
fn claims_hold_where_they_should() {
    let place = place();
    let text = "When Mary and John went to the store, John gave a drink to";
    let rows = |args: &[&str]| -> Vec<serde_json::Value> {
        serde_json::from_str(&place.ok([args, &["--format", "json", "-q"]].concat()).stdout).unwrap()
    };
    let lens = rows(&["lens", text, "--top", "3"]);
    let real = |row: &serde_json::Value, name: &str| row[name].as_f64().unwrap();
    let first: Vec<&serde_json::Value> = lens.iter().filter(|row| row["rank"] == 1).collect();
    let mean = first.iter().map(|row| real(row, "prob")).sum::<f64>() / first.len() as f64;
    let sure = first.iter().filter(|row| real(row, "prob") > 0.5).count() as f64 / first.len() as f64;
    let top = first.iter().max_by(|a, b| real(a, "prob").total_cmp(&real(b, "prob"))).unwrap();
    let (layer, pos) = (&top["layer"], &top["pos"]);
    let n = first.len();
    // Where ranks agree better than values, or worse: a bound that only one of them is above.
    let (xs, ys): (Vec<f64>, Vec<f64>) = first.iter().map(|row| (real(row, "prob"), real(row, "logit"))).unzip();
    let ranks = |of: &[f64]| of.iter().map(|x| of.iter().filter(|y| *y < x).count() as f64).collect::<Vec<f64>>();
    let (by_value, by_rank) = (pearson(&xs, &ys), pearson(&ranks(&xs), &ranks(&ys)));
    assert!((by_value - by_rank).abs() > 0.01, "{by_value} {by_rank}");
    let between = (by_value + by_rank) / 2.0;
    // The stroke that pushes furthest away: by size it is not the last.
    let strokes = rows(&["residual", text]);
    let away = strokes.iter().min_by(|a, b| real(a, "push").total_cmp(&real(b, "push"))).unwrap();
    let size = 1 + strokes.iter().filter(|row| real(row, "push").abs() > real(away, "push").abs()).count();
    assert!(real(away, "push") < 0.0 && size < strokes.len());
    let cases = [
        (format!("steps.res: step = {} in top {size} by |push|", away["step"]), true),
        (format!("steps.res: step = {} in top {size} by push", away["step"]), false),
        ("steps.lens: no rank > 2".into(), false),
        (format!("steps.lens where rank = 1: rank correlation of prob and logit > {between}"), by_rank > between),
        (format!("steps.lens where rank = 1: correlation of prob and logit > {between}"), by_value > between),
        (format!("steps.lens where rank = 1: rows = {n}"), true),
        (format!("steps.lens where rank = 1: rows != {n}"), false),
        ("steps.lens: all rank <= 3".into(), true),
        ("steps.lens: all rank < 3".into(), false),
        ("steps.lens: no rank > 3 and prob >= 0".into(), true),
        ("steps.lens: any rank in (3, 9)".into(), true),
        ("steps.lens: any rank in (8, 9)".into(), false),
        ("steps.lens: all target = null".into(), true),
        ("steps.lens: any target_rank < 5".into(), false),
        ("steps.lens: any target_rank >= 0".into(), false),
        ("steps.lens: all target_rank != 0".into(), true),
        ("steps.lens: any input_token = ' Mary'".into(), true),
        ("steps.lens: any input_token = Mary".into(), false),
        (format!("steps.lens where rank = 1: mean of prob > {}", mean - 1e-6), true),
        (format!("steps.lens where rank = 1: mean of prob > {}", mean + 1e-6), false),
        (format!("steps.lens where rank = 1: share of prob > 0.5 <= {sure}"), true),
        (format!("steps.lens where rank = 1: share of prob > 0.5 < {sure}"), false),
        (format!("steps.lens where rank = 1: layer = {layer} and pos = {pos} in top 1 by prob"), true),
        (format!("steps.lens where rank = 1: layer = {layer} and pos = {pos} in bottom {} by prob", n - 1), false),
        ("steps.lens where rank = 1 per layer: rows = 4".into(), true),
        ("steps.lens where rank = 1: mean of prob > mean of prob in steps.lens where rank = 2".into(), true),
        ("steps.lens where rank = 2: mean of prob > mean of prob in steps.lens where rank = 1".into(), false),
        ("steps.lens: correlation of prob and prob >= 0.999999".into(), true),
        ("steps.lens: rank correlation of rank and prob < 0".into(), true),
        ("steps.lens: correlation of logit and logit in steps.lens where rank = 1 > 0.999999".into(), true),
        ("steps.lens: correlation of rank and prob > 0".into(), false),
        ("steps.patch: head 9.9 in top 3 by |recovered|".into(), false),
    ];
    let mut file = format!(
        "[experiment]\ntitle = \"t\"\n[steps.lens]\nrun = \"lens\"\ntexts = [\"{text}\"]\ntop = 3\n[steps.res]\nrun = \"residual\"\ntexts = [\"{text}\"]\n[expect]\n"
    );
    let cases = &cases[..cases.len() - 1];
    for (i, (claim, _)) in cases.iter().enumerate() {
        file += &format!("\"{i}\" = \"{claim}\"\n");
    }
    place.write("test.toml", &file);
    let done = place.pellucid(["run", "test.toml", "--format", "json"]);
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    assert!(done.stderr.contains("expectations do not hold"), "{}", done.stderr);
    let json: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    let found = json["expect"].as_array().unwrap();
    assert_eq!(found.len(), cases.len());
    let wrong: Vec<String> = (found.iter().zip(cases))
        .filter(|(found, (_, holds))| found["holds"] != *holds)
        .map(|(found, (claim, _))| format!("{claim}: {found}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // It is written all the same, and says what does not hold.
    let html = String::from_utf8(place.read("reports/test/report.html")).unwrap();
    assert_eq!(html.matches("✗ no").count(), cases.iter().filter(|(_, holds)| !holds).count());

    // What is expected of a step is expected of each of its cells.
    let cells = file.split("[steps.res]").next().unwrap().replace("top = 3", "top = \"${matrix.top}\"");
    let cells = cells.replace("[steps.lens]", "[matrix]\ntop = [1, 2]\n[steps.lens]");
    for (claim, code) in [("any rank = 2", 1), ("any rank = 1", 0), ("max of rank <= max of rank in steps.lens", 0)] {
        place.write("test.toml", format!("{cells}[expect]\na = \"steps.lens: {claim}\"\n"));
        assert_eq!(place.pellucid(["run", "test.toml", "-q"]).code, Some(code), "{claim}");
    }

    // A claim on no row is an error, and not one that holds.
    for claim in ["steps.lens where rank = 7: all rank = 7", "steps.lens: rank = 7 in top 3 by prob"] {
        place.write(
            "test.toml",
            file.split("[expect]").next().unwrap().to_owned() + &format!("[expect]\na = \"{claim}\"\n"),
        );
        let done = place.pellucid(["run", "test.toml", "-q"]);
        assert!(done.code == Some(2) && done.stderr.contains("there are no rows"), "{claim}: {}", done.stderr);
    }
}

fn pearson(xs: &[f64], ys: &[f64]) -> f64 {
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    let (x, y) = (mean(xs), mean(ys));
    let sum = |f: &dyn Fn(f64, f64) -> f64| xs.iter().zip(ys).map(|(a, b)| f(a - x, b - y)).sum::<f64>();
    sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
}
