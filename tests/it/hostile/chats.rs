//! Chat templates that would work for ever, fill the memory or exhaust the stack: each is refused with what is wrong.

use std::time::Instant;

use crate::bin::{Place, fixture};
use crate::hostile::bombs::refused;

/// Invariant: A chat template can neither hang, nor cause a panic, nor take more than 2 GB, whatever it says.
#[test]
fn a_chat_template_cannot_exhaust_what_runs_it() {
    let place = Place::new();
    place.write("m/tokenizer.json", fs_err::read(fixture("tokenizers/gpt2/tokenizer.json")).unwrap());
    let in_namespace = |step: &str, then: &str| {
        format!(
            "{{% set ns = namespace(x=[1], y=[1]) %}}{{% for i in range(40000) %}}{{% set ns.x = {step} %}}{{% endfor %}}{then}"
        )
    };
    let chain = |of: &str| format!("{{{{ x{} }}}}", of.repeat(4000 / of.len()));
    let loops = "{% for i in range(99999) %}".repeat(3) + &"{% endfor %}".repeat(3);
    let (long, deep, fails, worn) = (
        "works longer than 5 seconds",
        "too deep a nest",
        "fails in its line 1",
        "works too long or takes too much memory in its line 1",
    );
    for (template, says) in [
        (loops, worn),
        ("{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}".into(), worn),
        ("{% set x = 'aaaaaaaa' %}".to_owned() + &"{% set x = x ~ x %}".repeat(60), worn),
        ("{{ 'a' * 99999999 }}{{ 'b'.replace('', 'x' * 99999) * 99999 }}".into(), worn),
        // Work that is not counted.
        ("{{ messages * 99999999 }}".into(), long),
        ("{% set x = [1] %}".to_owned() + &"{% set x = x + x %}".repeat(60) + "{{ x ~ '' }}", long),
        ("{% set x = [1] %}".to_owned() + &"{% set x = [x, x] %}".repeat(60) + "{{ x == [x] }}{{ x }}", long),
        ("{{ range(99999) | list | tojson(indent=64) }}{{ range(99999) | list | tojson(indent=64) }}".into(), worn),
        ("{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}".into(), "recursion limit exceeded"),
        (in_namespace("[ns.x]", "{{ ns.x }}"), deep),
        (in_namespace("{'a': ns.x}", "{{ ns.x == ns.y }}"), deep),
        (in_namespace("namespace(x=ns.x)", "x"), deep),
        (in_namespace("ns", "{{ ns }}"), deep),
        (in_namespace("ns.x[0:]", "{{ ns.x[40000] + 1 }}"), worn),
        ("{% set ns = namespace(x=1) %}{% for i in range(40000) %}{% set ns.x | default([ns.x], true) %}{% endset %}{% endfor %}{{ ns.x }}".into(), deep),
        ("{% set x = 1 %}".to_owned() + &format!("{{% set x = {}x{} %}}", "[".repeat(70), "]".repeat(70)).repeat(400) + "{{ x == [x] }}{{ [x, [x]] | sort }}{{ x | tojson }}", "nested too deeply"),
        (format!("{{{{ {}1{} }}}}", "(".repeat(2000), ")".repeat(2000)), "recursion limits"),
        (chain("-").replace("x-", "-").replace(" }}", "x }}"), fails),
        (chain("+x"), fails),
        (chain("()"), fails),
        (chain(".y"), fails),
        (chain("**x"), fails),
        ("{% if y %}".to_owned() + &"{% elif y %}".repeat(1900) + "{% endif %}{{ y.y }}", fails),
        (" ".repeat(70_000), "has 70000 bytes, and at most 65536 are read"),
        ("{{ 1 }}".repeat(3000), "has more than the 2000 tags that are read"),
        (format!("{{{{ 1{} }}}}", "+1".repeat(3000)), "bytes in the tag of line 1, and at most 4096 are read"),
    ] {
        place.write("m/chat_template.jinja", &template);
        let begun = Instant::now();
        refused(&place, &["tokens", "-m", "./m", "--chat", "ab"], 1, says, 2e9);
        assert!(begun.elapsed().as_secs() < 20, "{:?}: {}", begun.elapsed(), &template[..80.min(template.len())]);
    }
}
