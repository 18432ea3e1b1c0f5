//! Examples of every command, which its help shows: what each is for, and its words. `{S}` stands for a sentence, `{P}` for a pair of them.

/// A sentence that the built-in model knows how to end.
const SENTENCE: &str = "When Mary and John went to the store, John gave a drink to";
/// It beside another, with the answers to both.
const PAIR: &str = "--clean \"When Mary and John went to the store, John gave a drink to\" \
                    --corrupt \"When Mary and John went to the store, Mary gave a drink to\" --answer \" Mary\" --foil \" John\"";

/// By command.
const EXAMPLES: &[(&str, &[[&str; 2]])] = &[
    (
        "tokens",
        &[
            ["The tokens of a text", "pellucid tokens \"When Mary and John went to the store\""],
            ["How often a letter is in it, and in which tokens", "pellucid tokens \"strawberry\" --letter r"],
        ],
    ),
    (
        "next",
        &[
            ["What may come next", "pellucid next \"{S}\""],
            ["The same at a lower temperature", "pellucid next \"{S}\" --temperature 0.7 --top-p 0.9"],
        ],
    ),
    (
        "cost",
        &[
            ["What one more token costs", "pellucid cost"],
            ["At two lengths of the context, in 8 bits", "pellucid cost --context 16,64 --bits 8"],
        ],
    ),
    (
        "patch",
        &[
            ["Where the two names are told apart", "pellucid patch {P}"],
            ["Head by head, in some layers", "pellucid patch {P} --at z --over layer,head --layers 1-3"],
            [
                "Positions by what they are, of words that stand there twice too",
                "pellucid patch {P} --at resid_pre --positions io=Mary,s1=John@1,s2=John@2,end",
            ],
            [
                "Many pairs: a CSV file that begins `clean,corrupt,answer,foil` has one on each line; names may come from its columns",
                "pellucid patch --pairs pairs.csv --positions \"io={answer},end\" --figures first",
            ],
        ],
    ),
    (
        "verify",
        &[
            ["Check a model", "pellucid verify demo"],
            ["Compare it with what another program computed", "pellucid verify ./model --reference dump.safetensors"],
        ],
    ),
    (
        "ablate",
        &[
            ["What is lost without each head", "pellucid ablate \"{S}\""],
            ["Some neurons of one layer", "pellucid ablate \"{S}\" --unit neuron --layers 1 --neurons 0-9"],
            [
                "On many prompts, each with its own answer and foil",
                "pellucid ablate --pairs pairs.csv --metric logit_diff --limit 50",
            ],
        ],
    ),
    ("embed", &[["The nearest tokens of two words", "pellucid embed Mary John"]]),
    ("path", &[["From heads straight to the logits", "pellucid path {P} --to logits --layers 2-3"]]),
    ("generate", &[["Three continuations", "pellucid generate \"{S}\" --traces 3 --tokens 8"]]),
    (
        "position",
        &[[
            "Two heads, from two positions",
            "pellucid position \"When Mary and John went to the store\" --head 0.0-1 --query 3,-1",
        ]],
    ),
    (
        "neurons",
        &[
            ["The strongest neurons of a word", "pellucid neurons \"{S}\" --target \" Mary\""],
            ["What neurons of a corpus react to", "pellucid neurons --corpus texts.jsonl --neuron 1.0-9"],
        ],
    ),
    ("loss", &[["How surprising each token is", "pellucid loss \"{S} Mary\""]]),
    (
        "compare",
        &[
            ["Two models on a prompt", "pellucid compare -m ./base -m ./tuned \"The capital of France is\""],
            ["Two runs of one command", "pellucid compare runs/before runs/after"],
        ],
    ),
    (
        "attribute",
        &[
            [
                "Estimate all patches of heads, and measure the ten strongest",
                "pellucid attribute {P} --at z --confirm 10",
            ],
            ["Their means over many pairs", "pellucid attribute --pairs pairs.csv --at z,mlp_out"],
            ["Only what is in some layers", "pellucid attribute {P} --at z,mlp.post --layers 1-2"],
        ],
    ),
    ("explain", &[["A page about one sentence", "pellucid explain \"{S}\" --out page"]]),
    (
        "export",
        &[[
            "Activations of a corpus, without the first positions",
            "pellucid export --corpus texts.jsonl --at resid_post --skip-pos 0-3",
        ]],
    ),
    ("heads", &[["Kinds of heads, and who reads whom", "pellucid heads --find heads,pairs --texts 10"]]),
    (
        "residual",
        &[["What pushes a word, at every position", "pellucid residual \"{S}\" --target \" Mary\" --pos all"]],
    ),
    ("cache", &[["The stream after two layers", "pellucid cache \"{S}\" --at \"blocks.0-1.hook_resid_post\""]]),
    (
        "attention",
        &[
            ["One head, large", "pellucid attention \"{S}\" --head 1.1"],
            [
                "What the last two positions look at, in some layers",
                "pellucid attention \"{S}\" --layers 1-3 --pos -2--1",
            ],
        ],
    ),
    (
        "hooks",
        &[
            ["All hooks", "pellucid hooks"],
            ["Some of a model, with their sizes", "pellucid hooks -m demo \"blocks.0.attn.*\""],
        ],
    ),
    (
        "lens",
        &[
            ["What each layer would say", "pellucid lens \"{S}\""],
            ["How a word rises at the last positions", "pellucid lens \"{S}\" --target \" Mary\" --pos -3--1"],
            ["What sublayers of some layers write", "pellucid lens \"{S}\" --at attn_out,mlp_out --layers 1-2"],
            [
                "Means over many prompts: a JSONL file has lines such as {\"text\": \"The capital of France is\", \"target\": \" Paris\"}",
                "pellucid lens --prompts prompts.jsonl --pos -1 --figures none",
            ],
        ],
    ),
    ("model", &[["What a model is", "pellucid model -m demo"]]),
    (
        "run",
        &[
            ["What an experiment would run", "pellucid run experiments/induction.toml --dry-run"],
            [
                "Run it, with another number of one step",
                "pellucid run experiments/induction.toml --set steps.heads.top=20",
            ],
        ],
    ),
    ("tables", &[["The columns of one table", "pellucid tables attention"]]),
    ("merge", &[["Join the parts in a folder", "pellucid merge runs/patch-0123456789ab"]]),
    ("status", &[["Check all that is finished of a data set", "pellucid status runs/export-0123456789ab --check"]]),
    (
        "chart",
        &[
            [
                "For a paper, as wide as a column",
                "pellucid chart runs/story/logit_lens.parquet --out lens.pdf --width 8cm --title none --caption none",
            ],
            ["Every table of a folder", "pellucid chart runs/story --out figures --width 17cm"],
            ["For slides", "pellucid chart runs/heads/patch.parquet --out slides --as png --theme dark"],
            [
                "Two heads of a table of patterns",
                "pellucid chart runs/park/attention.parquet --head 1.1,2.0 --out figures",
            ],
            ["From a table in a pipe", "pellucid chart - --out - < logit_lens.parquet > lens.svg"],
        ],
    ),
    (
        "glossary",
        &[
            ["One word", "pellucid glossary logit"],
            ["In Chinese, by its Chinese name", "pellucid glossary 残差流 --lang zh"],
        ],
    ),
    ("completions", &[["For zsh, in a folder of $fpath", "pellucid completions zsh > ~/.zfunc/_pellucid"]]),
    (
        "man",
        &[
            ["Read the page of a command", "pellucid man lens | man -l -"],
            ["Install all pages", "pellucid man --out ~/.local/share/man/man1"],
        ],
    ),
];

/// What each example of a command is for, and its words.
pub(super) fn examples(command: &str) -> Vec<[String; 2]> {
    let own = EXAMPLES.iter().find(|(name, _)| *name == command).map_or(&[][..], |(_, examples)| examples);
    let whole = |words: &str| words.replace("{S}", SENTENCE).replace("{P}", PAIR);
    own.iter().map(|[what, words]| [(*what).to_owned(), whole(words)]).collect()
}
