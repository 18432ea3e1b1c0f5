//! Every option of every analysis: which of them name the folder of results, and that the canonical command has them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use pellucid::cli::{Asked, analyses, asked};

use crate::bin::{Place, model};
use crate::forge;

/// What another value of an option does to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    /// It makes another request.
    Decides,
    /// It says how the same content is found: it stands in the command, and the request stays.
    Finds,
    /// It changes no byte of the results: neither command nor request have it.
    Nothing,
    /// It cannot be another on every machine: it is refused with these words.
    Refused(&'static str),
}
use Does::{Decides, Finds, Nothing, Refused};

/// An option, the arguments without another value of it, and those with it. Words are parted by `|`; `+` stands for the arguments without
/// it, `~` for those that every command of its input needs, `@` for the folder of the test.
type Case = (&'static str, &'static str, &'static str, Does);

const PAIR: &str = "--clean|Mary and John|--corrupt|John and Mary|--answer| went|--foil| met";

/// Of every option a case, by the analysis and the name of the option, or by the name alone where all analyses have one.
#[rustfmt::skip]
const CASES: &[Case] = &[
    // The model.
    ("model", "~", "+|-m|@/other", Decides),
    ("compare.model", "~", "-m|@/third|-m|@/other|Mary and John", Decides),
    ("verify.name", "", "@/other", Decides),
    ("accept_config", "~", "+|--accept-config|torch_dtype", Decides),
    // What is counted is the model that was read, whatever was let through.
    ("cost.accept_config", "", "+|--accept-config|torch_dtype", Finds),
    // Their results have no folder.
    ("hooks.accept_config", "-m|demo", "+|--accept-config|torch_dtype", Finds),
    ("model.accept_config", "", "+|--accept-config|torch_dtype", Finds),
    ("process", "~", "+|--process|fold-ln", Decides),
    ("dtype", "~", "+|--dtype|f16", Decides),
    ("device", "~", "+|--device|cuda", Refused("cuda")),
    ("memory", "~", "+|--memory|300MB", Decides),
    // Prompts.
    ("texts", "~", "+|another", Decides),
    ("verify.texts", "demo", "+|another", Decides),
    ("prompts", "~", "+|--prompts|@/a.jsonl", Decides),
    // A page is of one prompt.
    ("explain.texts", "~", "Mary met John", Decides),
    ("explain.prompts", "--prompts|@/b.jsonl", "--prompts|@/b.jsonl|--columns|text=other", Decides),
    ("explain.prompts_format", "--prompts|@/b.jsonl", "+|--prompts-format|jsonl", Finds),
    ("explain.columns", "--prompts|@/b.jsonl", "+|--columns|text=other", Decides),
    ("explain.ids", "--ids|3,2,1", "--ids|1,2,3", Decides),
    ("explain.compare", "~", "+|--compare|@/other", Decides),
    ("explain.lang", "~", "+|--lang|both", Decides),
    ("explain.traces", "~", "+|--traces|2", Decides),
    ("explain.tokens", "~", "+|--tokens|2", Decides),
    ("cache.prompts", "~", "+|--prompts|@/a.jsonl", Decides),
    ("prompts_format", "~|--prompts|@/a.jsonl", "+|--prompts-format|jsonl", Finds),
    ("columns", "~|--prompts|@/a.jsonl", "+|--columns|text=other", Decides),
    ("limit", "~|--prompts|@/a.jsonl", "+|--limit|1", Decides),
    ("explain.limit", "--prompts|@/b.jsonl", "+|--limit|1", Finds),
    ("input_rows", "~", "+|--input-rows|1000", Nothing),
    ("input_bytes", "~", "+|--input-bytes|1MB", Nothing),
    ("ids", "~", "+|--ids|1,2,3", Decides),
    // The built-in model's tokenizer begins with BOS by itself.
    ("bos", "~|--no-bos", "~|--bos", Decides),
    ("no_bos", "~", "+|--no-bos", Decides),
    ("verify.bos", "demo|Mary|--no-bos", "demo|Mary|--bos", Decides),
    ("verify.no_bos", "demo|Mary", "+|--no-bos", Decides),
    ("chat", "~|-m|@/chat", "+|--chat|--date|2026-11-26", Decides),
    ("compare.chat", "~", "+|--chat|--date|2026-11-26", Decides),
    ("compare.system", "~|--chat|--date|2026-11-26", "+|--system|John", Decides),
    ("compare.date", "~|--chat|--date|2026-11-26", "~|--chat|--date|2026-11-27", Decides),
    ("verify.chat", "@/chat|Mary", "+|--chat|--date|2026-11-26", Decides),
    ("system", "~|-m|@/chat|--chat|--date|2026-11-26", "+|--system|John", Decides),
    ("verify.system", "@/chat|Mary|--chat|--date|2026-11-26", "+|--system|John", Decides),
    ("date", "~|-m|@/chat|--chat|--date|2026-11-26", "~|-m|@/chat|--chat|--date|2026-11-27", Decides),
    ("verify.date", "@/chat|Mary|--chat|--date|2026-11-26", "@/chat|Mary|--chat|--date|2026-11-27", Decides),
    ("dataset", "~|--kind|mean|--dataset|@/a.jsonl", "~|--kind|mean|--dataset|@/b.jsonl", Decides),
    ("dataset_format", "~|--kind|mean|--dataset|@/a.jsonl", "+|--dataset-format|jsonl", Finds),
    ("export.corpus_format", "~", "+|--corpus-format|txt", Refused("none is read from there")),
    ("neurons.corpus_format", "~|--corpus|@/a.jsonl", "+|--corpus-format|txt", Refused("none is read from there")),
    ("verify.reference", "-m|@gpt2", "+|--reference|@gpt2/reference.safetensors", Decides),
    // Pairs.
    ("clean", "~", "--clean|Mary met John|--corrupt|John and Mary|--answer| went|--foil| met", Decides),
    ("corrupt", "~", "--clean|Mary and John|--corrupt|John met Mary|--answer| went|--foil| met", Decides),
    ("answer", "~", "--clean|Mary and John|--corrupt|John and Mary|--answer| saw|--foil| met", Decides),
    ("foil", "~", "--clean|Mary and John|--corrupt|John and Mary|--answer| went|--foil| saw", Decides),
    ("pairs", "~", "--pairs|@/pairs.jsonl", Decides),
    ("pairs_format", "--pairs|@/pairs.jsonl", "+|--pairs-format|jsonl", Finds),
    ("patch.columns", "--pairs|@/pairs.jsonl", "+|--columns|clean=other", Decides),
    ("path.columns", "--pairs|@/pairs.jsonl", "+|--columns|clean=other", Decides),
    ("attribute.columns", "--pairs|@/pairs.jsonl", "+|--columns|clean=other", Decides),
    ("positions", "--pairs|@/pairs.jsonl", "+|--positions|one=1,end", Decides),
    ("align", "~", "+|--align|end", Decides),
    ("skip_misaligned", "--pairs|@/pairs.jsonl", "+|--skip-misaligned", Finds),
    ("patch.limit", "--pairs|@/pairs.jsonl", "+|--limit|1", Decides),
    ("path.limit", "--pairs|@/pairs.jsonl", "+|--limit|1", Decides),
    ("attribute.limit", "--pairs|@/pairs.jsonl", "+|--limit|1", Decides),
    ("vector", "~|--kind|add=2|--vector|@/v.safetensors", "~|--kind|add=2|--vector|@/w.safetensors", Decides),
    // What is asked.
    ("lens.at", "~", "+|--at|mlp_out", Decides),
    ("pos", "~", "+|--pos|-1", Decides),
    ("lens.top", "~", "+|--top|2", Decides),
    ("lens.target", "~", "+|--target| went", Decides),
    ("lens.foil", "~|--target| went", "+|--foil| met", Decides),
    ("temperature", "~", "+|--temperature|0.5", Decides),
    ("top_k", "~", "+|--top-k|3", Decides),
    ("top_p", "~", "+|--top-p|0.5", Decides),
    ("min_p", "~", "+|--min-p|0.1", Decides),
    ("typical", "~", "+|--typical|0.5", Decides),
    ("repetition_penalty", "~", "+|--repetition-penalty|1.1", Decides),
    ("presence_penalty", "~", "+|--presence-penalty|1", Decides),
    ("frequency_penalty", "~", "+|--frequency-penalty|1", Decides),
    ("engine", "~", "+|--engine|vllm", Decides),
    ("order", "~", "+|--order|top-k,temperature", Decides),
    ("defaults", "~", "+|--defaults|model", Decides),
    ("residual.pos", "~", "+|--pos|0", Decides),
    ("residual.target", "~", "+|--target| went", Decides),
    ("residual.foil", "~|--target| went", "+|--foil| met", Decides),
    ("neurons.pos", "~", "+|--pos|0", Decides),
    ("neurons.target", "~", "+|--target| went", Decides),
    ("neurons.top", "~", "+|--top|2", Decides),
    ("neurons.tokens", "~", "+|--tokens|2", Decides),
    ("neurons.neuron", "~", "+|--neuron|1.2,1.3", Decides),
    ("neurons.corpus", "~", "+|--corpus|@/a.jsonl", Decides),
    ("neurons.text", "~|--corpus|@/a.jsonl", "+|--text|other", Decides),
    ("neurons.id", "~|--corpus|@/a.jsonl", "+|--id|other", Decides),
    ("neurons.txt", "~|--corpus|@/a.jsonl", "+|--txt|line", Decides),
    ("neurons.on_error", "~|--corpus|@/a.jsonl", "+|--on-error|skip", Decides),
    ("neurons.hook", "--corpus|@/a.jsonl", "+|--hook|z", Decides),
    ("neurons.examples", "--corpus|@/a.jsonl", "+|--examples|2", Decides),
    ("neurons.cards", "--corpus|@/a.jsonl", "+|--cards|2", Decides),
    ("neurons.draws", "--corpus|@/a.jsonl", "+|--draws|9", Decides),
    ("neurons.frequent", "--corpus|@/a.jsonl", "+|--frequent|9", Decides),
    ("neurons.context", "--corpus|@/a.jsonl", "+|--context|8", Decides),
    ("neurons.skip_special", "--corpus|@/a.jsonl", "+|--skip-special", Decides),
    ("neurons.skip_pos", "--corpus|@/a.jsonl", "+|--skip-pos|0..4,7", Decides),
    ("neurons.neuronpedia", "--corpus|@/a.jsonl", "+|--neuronpedia", Decides),
    ("neurons.seed", "--corpus|@/a.jsonl", "+|--seed|3", Decides),
    ("next.pos", "~", "+|--pos|0", Decides),
    ("next.top", "~", "+|--top|2", Decides),
    ("next.choices", "~", "+|--choices| went", Decides),
    ("generate.traces", "~", "+|--traces|2", Decides),
    ("generate.tokens", "~", "+|--tokens|2", Decides),
    ("generate.stop", "~", "+|--stop|went", Decides),
    ("generate.ignore_eos", "~", "+|--ignore-eos", Decides),
    ("generate.hooks", "~", "+|--hooks|z", Decides),
    ("generate.decided", "~", "+|--decided", Decides),
    ("generate.steer", "~|--steer-at|resid_post|--steer|@/v.safetensors", "~|--steer-at|resid_post|--steer|@/w.safetensors", Decides),
    ("generate.steer_at", "~|--steer|@/v.safetensors|--steer-at|z", "~|--steer|@/v.safetensors|--steer-at|resid_post", Decides),
    ("generate.strength", "~", "+|--strength|2", Decides),
    ("generate.zero", "~", "+|--zero|z", Decides),
    ("position.head", "~", "+|--head|1.1,2.0", Decides),
    ("query", "~", "+|--query|1,-1", Decides),
    ("distance", "~", "+|--distance|8", Decides),
    ("position.positions", "~", "+|--positions|64", Decides),
    ("swap", "~", "+|--swap|Mary,John", Decides),
    ("position.top", "~", "+|--top|3", Decides),
    ("attention.head", "~", "+|--head|1.1", Decides),
    ("attention.min_prob", "~", "+|--min-prob|0.5", Decides),
    ("attention.parts", "~", "+|--parts", Decides),
    ("attention.target", "~", "+|--target| went", Decides),
    ("attention.foil", "~|--target| went", "+|--foil| met", Decides),
    ("embed.words", "~", "+| John", Decides),
    ("embed.context", "~", "+|--context|John and Mary", Decides),
    ("embed.bos", "~|--context|John and Mary|--no-bos", "~|--context|John and Mary|--bos", Decides),
    ("embed.no_bos", "~|--context|John and Mary", "+|--no-bos", Decides),
    ("embed.chat", "~|-m|@/chat|--context|John and Mary", "+|--chat|--date|2026-11-26", Decides),
    ("embed.system", "~|-m|@/chat|--context|John and Mary|--chat|--date|2026-11-26", "+|--system|John", Decides),
    ("embed.date", "~|-m|@/chat|--context|John and Mary|--chat|--date|2026-11-26", "~|-m|@/chat|--context|John and Mary|--chat|--date|2026-11-27", Decides),
    ("embed.neighbors", "~", "+|--neighbors|3", Decides),
    ("embed.piece", "~", "+|--piece|0", Decides),
    ("embed.analogy", "~", "+|--analogy|Mary John Tom", Decides),
    ("embed.map", "~", "+|--map|5", Decides),
    ("embed.class", "~", "+|--class|names=Mary John", Decides),
    ("heads.find", "", "--find|heads", Decides),
    ("heads.texts", "", "--texts|20", Decides),
    ("heads.length", "", "--length|20", Decides),
    ("heads.head", "", "--head|1.0", Decides),
    ("heads.components", "", "--components|2", Decides),
    ("heads.top", "", "--top|2", Decides),
    ("heads.tokens", "", "--tokens| Mary", Decides),
    ("cost.bits", "", "--bits|8", Decides),
    ("cost.cache_bits", "", "--cache-bits|8", Decides),
    ("cost.measure", "", "--measure", Decides),
    ("tokens.letter", "~", "+|--letter|a", Decides),
    ("cache.hooks", "Mary|--hooks|resid_post", "Mary|--hooks|z", Decides),
    ("hooks.pattern", "", "z", Decides),
    ("export.memory", "~", "+|--memory|300MB", Nothing),
    ("corpus", "--hooks|z|--corpus|@/a.jsonl", "--hooks|z|--corpus|@/b.jsonl", Decides),
    ("text", "~", "+|--text|other", Decides),
    ("id", "~", "+|--id|other", Decides),
    ("txt", "~", "+|--txt|line", Decides),
    ("on_error", "~", "+|--on-error|skip", Decides),
    ("export.hooks", "~", "--hooks|z|--corpus|@/a.jsonl", Decides),
    ("context", "~", "+|--context|8", Decides),
    ("cost.context", "", "--context|4,8", Decides),
    ("pack", "~", "+|--pack|sep: and", Decides),
    ("export.bos", "~", "+|--bos", Decides),
    ("tail", "~", "+|--tail|drop", Decides),
    ("stride", "~", "+|--stride|4", Decides),
    ("export.columns", "~", "+|--columns|loss,top1", Decides),
    ("skip_special", "~", "+|--skip-special", Decides),
    ("skip_pos", "~", "+|--skip-pos|0..4,7", Decides),
    ("max_norm_multiple", "~", "+|--max-norm-multiple|10", Decides),
    ("sample", "~", "+|--sample|0.1", Decides),
    ("shuffle", "~", "+|--shuffle|documents", Decides),
    ("shuffle", "~", "+|--shuffle|tokens:64", Decides),
    ("as", "~", "+|--as|safetensors", Decides),
    ("store", "~", "+|--store|f16", Decides),
    ("clip", "~", "+|--clip", Decides),
    ("block", "~", "+|--block|8", Decides),
    ("shard", "~", "+|--shard|1/2", Nothing),
    ("at", "~", "+|--at|z", Decides),
    ("over", "~", "+|--over|layer", Decides),
    ("layers", "~", "+|--layers|0", Decides),
    ("heads", "~", "+|--heads|1", Decides),
    ("patch.heads", "~|--at|z|--over|layer,head", "+|--heads|1", Decides),
    ("patch.neurons", "~|--at|mlp.post|--over|layer,neuron", "+|--neurons|1", Decides),
    ("path.neurons", "~|--from|mlp.post|--over|layer,neuron", "+|--neurons|1", Decides),
    ("ablate.neurons", "~|--unit|neuron", "+|--neurons|1", Decides),
    ("keys", "~|--at|pattern|--over|layer,key_pos", "+|--keys|0", Decides),
    ("patch.together", "~|--at|attn_out,mlp_out|--over|layer", "+|--together", Decides),
    ("per_query_head", "~|--at|k|--over|layer,head", "+|--per-query-head", Decides),
    ("window", "~", "+|--window|2", Decides),
    ("direction", "~", "+|--direction|noise", Decides),
    ("kind", "~", "+|--kind|zero", Decides),
    ("seed", "~", "+|--seed|3", Decides),
    ("metric", "~", "+|--metric|prob", Decides),
    ("ablate.metric", "~", "+|--metric|kl_to_clean", Decides),
    ("measure_at", "~", "+|--measure-at|1", Decides),
    ("noise", "--clean|Mary and John|--answer| went|--foil| met", "+|--noise|3|--subject|Mary", Decides),
    ("subject", "--clean|Mary and John|--answer| went|--foil| met|--noise|3|--subject|Mary",
        "--clean|Mary and John|--answer| went|--foil| met|--noise|3|--subject|John", Decides),
    ("noise_at", "--clean|Mary and John|--answer| went|--foil| met|--noise|3|--noise-at|0",
        "--clean|Mary and John|--answer| went|--foil| met|--noise|3|--noise-at|1", Decides),
    ("samples", "--clean|Mary and John|--answer| went|--foil| met|--noise|3|--subject|Mary", "+|--samples|2", Decides),
    ("path.from", "~|--over|layer|--from|attn_out", "~|--over|layer|--from|mlp_out", Decides),
    ("path.to", "~", "+|--to|1.mlp", Decides),
    ("path.together", "~|--to|1.q,1.k", "+|--together", Decides),
    ("path.through", "~", "+|--through|mlps", Decides),
    ("ablate.unit", "~", "+|--unit|mlp", Decides),
    ("ablate.answer", "~", "+|--answer| went", Decides),
    ("ablate.foil", "~", "+|--foil| met", Decides),
    ("attribute.top", "~", "+|--top|2", Decides),
    ("attribute.qk_fix", "~", "+|--qk-fix", Decides),
    ("attribute.grad_drop", "~", "+|--grad-drop", Decides),
    ("attribute.confirm", "~", "+|--confirm|2", Decides),
    // How it was checked, where it goes and how it is drawn.
    ("verify", "~", "+|--verify|2", Nothing),
    ("scale", "~", "+|--scale|1", Nothing),
    ("figures", "~", "+|--figures|first", Nothing),
    ("table", "~", "+|--table|@table", Nothing),
    ("open", "~", "+|--open", Nothing),
    ("print_folder", "~", "+|--print-folder", Nothing),
    ("resume", "~", "+|--resume", Nothing),
    ("out", "~", "+|--out|folder", Nothing),
    ("force", "~", "+|--force", Nothing),
    ("wait", "~", "+|--wait|5", Nothing),
    ("serve", "~", "+|--serve", Nothing),
    ("port", "~|--serve", "+|--port|1", Nothing),
];

/// The arguments that every command of an analysis needs.
pub(super) fn least(analysis: &str) -> &'static str {
    match analysis {
        "patch" | "path" | "attribute" => PAIR,
        "compare" => "-m|@/third|-m|@/fourth|Mary and John",
        "cache" => "Mary and John|--hooks|resid_post",
        "export" => "--hooks|resid_post|--corpus|@/a.jsonl",
        "embed" => " Mary",
        "cost" | "heads" | "hooks" | "model" | "verify" => "",
        _ => "Mary and John",
    }
}

/// The words of a command line.
pub(super) fn words(place: &Place, analysis: &str, arguments: &str) -> Vec<String> {
    let folder = place.path("").display().to_string();
    // Any of its tables.
    let of_table = |arg: &clap::Arg| (arg.get_id() == "table").then(|| arg.get_possible_values());
    let tables =
        analyses().find(|command| command.get_name() == analysis).and_then(|c| c.get_arguments().find_map(of_table));
    let table = tables.and_then(|tables| Some(tables.first()?.get_name().to_owned())).unwrap_or_default();
    let arguments = arguments.replace("@table", &table);
    let arguments = arguments.replace('~', least(analysis)).replace("@gpt2", &model("gpt2")).replace("@/", &folder);
    let all = [analysis, "-q"].into_iter().chain(arguments.split('|').filter(|word| !word.is_empty()));
    all.map(str::to_owned).collect()
}

/// What was asked already: each time, a model is loaded.
type Known = BTreeMap<Vec<String>, Result<Rc<Asked>, String>>;

/// Every case that is needed is there, and says what is so. What is not is returned.
fn wrong(
    known: &RefCell<Known>,
    place: &Place,
    analysis: &str,
    id: &str,
    long: Option<&str>,
    &(_, without, with, does): &Case,
) -> Option<String> {
    let (without, with) = (words(place, analysis, without), words(place, analysis, &with.replace('+', without)));
    let of = |words: &[String]| {
        let mut known = known.borrow_mut();
        let new = || asked(words).map(Rc::new).map_err(|e| format!("{words:?}: {}", e.message()));
        known.entry(words.to_vec()).or_insert_with(new).clone()
    };
    let differs = |(one, other): (&Asked, &Asked)| (one.request != other.request, one.command != other.command);
    let found = (|| {
        let own = of(&without)?;
        if let Refused(said) = does {
            return match of(&with) {
                Err(why) if why.contains(said) => Ok(()),
                _ => Err("it is not refused".to_owned()),
            };
        }
        let other = of(&with)?;
        let as_declared = match does {
            Decides => differs((&own, &other)) == (true, true),
            Finds => differs((&own, &other)) == (false, true),
            _ => differs((&own, &other)) == (false, false),
        };
        if !as_declared {
            return Err(format!("it does not do what is declared, {does:?}: {:?}, {:?}", own.command, other.command));
        }
        // The command has the option, and asks for the same.
        let of_option = |word: &String| long.is_none_or(|long| word == long || word.starts_with(&format!("{long}=")));
        if does != Nothing && !matches!(analysis, "hooks" | "model") && !other.command.iter().any(of_option) {
            return Err(format!("it is not in {:?}", other.command));
        }
        // What only prints has no file that says its command.
        if matches!(analysis, "hooks" | "model") {
            return Ok(());
        }
        for (given, asks) in [(without, own), (with, other)] {
            let mut words = [&asks.command[1..], &["-q".to_owned()]].concat();
            // A corpus is named as whoever stands in its folder would name it.
            for i in 1..words.len() {
                if words[i - 1] == "--corpus" {
                    words[i] = place.path(&words[i]).display().to_string();
                }
            }
            let again = of(&words)?;
            if (&again.request, &again.command) != (&asks.request, &asks.command) {
                return Err(format!("{given:?} is said as {:?}, which asks for something else", asks.command));
            }
        }
        Ok(())
    })();
    found.err().map(|why| format!("{analysis} {id}: {why}"))
}

/// Invariant: Every option of every analysis names the folder of results, but for those that change no byte; the canonical command has it, and
/// asks for the same again.
#[test]
fn every_option_of_every_analysis_decides_the_request_or_changes_nothing() {
    let place = Place::new();
    let prompt = |a, b| format!("{{\"text\": \"{a}\", \"other\": \"{b}\"}}\n");
    place.write("a.jsonl", prompt("Mary went", "John went").repeat(2));
    place.write("b.jsonl", prompt("John met Mary", "Mary met"));
    let pair = "{\"clean\": \"Mary and John\", \"other\": \"Mary met John\", \"corrupt\": \"John and Mary\", \
                \"answer\": \" went\", \"foil\": \" met\"}\n";
    place.write("pairs.jsonl", pair.repeat(2));
    // The built-in model by another name.
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        let demo = format!("{}/models/demo/{file}", env!("CARGO_MANIFEST_DIR"));
        let bytes = fs_err::read(demo).unwrap();
        place.write(&format!("other/{file}"), &bytes);
        place.write(&format!("chat/{file}"), bytes);
    }
    let template = "{% for m in messages %}{{ m.content + ' and ' }}{% endfor %}{{ 'Mary' if strftime_now('%d') == '26' else 'John' }}";
    place.write("chat/chat_template.jinja", template);
    // The same with other weights.
    for (folder, bits) in [("third", 1), ("fourth", 2)] {
        for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
            place.write(&format!("{folder}/{file}"), place.read(&format!("other/{file}")));
        }
        place.write(&format!("{folder}/chat_template.jinja"), template);
        // The last bits of the first tensor's numbers.
        forge::weights(&place, folder, |tensors| {
            let (_, _, data) = tensors.values_mut().next().unwrap();
            data.iter_mut().step_by(2).for_each(|byte| *byte ^= bits);
        });
    }
    for (name, number) in [("v", 1f32), ("w", 2.0)] {
        let data = (0..64).flat_map(|_| number.to_le_bytes()).collect();
        let tensors = [("v".to_owned(), (safetensors::Dtype::F32, vec![64], data))].into();
        place.write(&format!("{name}.safetensors"), forge::serialized(&tensors));
    }
    let (mut failed, mut used, mut n) = (vec![], BTreeSet::new(), 0);
    let known = RefCell::default();
    for command in analyses() {
        for argument in command.get_arguments() {
            let (analysis, id) = (command.get_name(), argument.get_id().as_str());
            let own = format!("{analysis}.{id}");
            let case = [own.as_str(), id].iter().find_map(|name| CASES.iter().find(|case| case.0 == *name));
            let Some(case) = case else {
                failed.push(format!("{own} is an option without a case: say of it what another value of it does"));
                continue;
            };
            used.insert(case.0);
            n += 1;
            let long = argument.get_long().map(|long| format!("--{long}"));
            failed.extend(wrong(&known, &place, analysis, id, long.as_deref(), case));
        }
    }
    failed.extend(CASES.iter().filter(|case| !used.contains(case.0)).map(|case| format!("no analysis has {}", case.0)));
    println!("{n} options of {} analyses", analyses().count());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    // What is asked for is what names the folder.
    let lens = ["lens", "Mary and John", "--top", "2"];
    place.ok(lens);
    let folder = place.only_run().file_name().unwrap().to_string_lossy().into_owned();
    let (_, hash) = folder.rsplit_once('-').unwrap();
    assert!(asked(&lens).unwrap().request.starts_with(hash), "{folder}");
}
