//! The field's words, in plain English and in Chinese: those of the page of a prompt, of `pellucid glossary` and of docs/glossary.md.

/// A term and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// What links call it.
    pub key: &'static str,
    /// Its name in English; after a comma, other names.
    pub en: &'static str,
    /// Its name in Chinese.
    pub zh: &'static str,
    /// What it means, in English.
    pub means: &'static str,
    /// The same in Chinese.
    pub means_zh: &'static str,
    /// The command that shows it.
    pub seen: &'static str,
}

const fn term(
    key: &'static str,
    en: &'static str,
    zh: &'static str,
    means: &'static str,
    means_zh: &'static str,
    seen: &'static str,
) -> Term {
    Term { key, en, zh, means, means_zh, seen }
}

/// Every term, in the order in which a prompt passes them.
pub const TERMS: &[Term] = &[
    term(
        "prompt",
        "prompt",
        "提示词（prompt）",
        "The text that a model is given, and after which it says what comes next.",
        "交给模型的那段文字；模型要说的是它后面接什么。",
        "next",
    ),
    term(
        "token",
        "token",
        "词元（token）",
        "A piece of text with a number in a fixed list. All that a model reads and says.",
        "一段文字，在固定清单里有一个编号。模型读的和说的都只有它。",
        "tokens",
    ),
    term(
        "bpe",
        "byte-pair encoding, BPE",
        "字节对编码（BPE）",
        "How many tokenizers cut a word: single symbols, of which the pair that was learnt earliest is joined again and again.",
        "许多分词器切词的办法：从单个符号开始，反复把最早学到的一对合成一个。",
        "tokens",
    ),
    term(
        "bos",
        "BOS, beginning of sequence",
        "序列开头（BOS）",
        "A token that some tokenizers put before every text. What a model says after a text may depend much on whether it is there.",
        "有些分词器放在每段文字最前面的词元。有没有它，模型的回答可能差很多。",
        "tokens",
    ),
    term(
        "embedding",
        "embedding",
        "嵌入（embedding）",
        "The trained coordinates that a token’s number stands for.",
        "词元编号所对应的、训练出来的坐标。",
        "embed",
    ),
    term(
        "cosine",
        "cosine",
        "余弦",
        "How alike the directions of two lists of numbers are: one for the same direction, zero for nothing in common, less than zero for opposite ones.",
        "两组数的方向有多像：一是方向相同，零是毫无共同，小于零是方向相反。",
        "embed",
    ),
    term(
        "position",
        "positional encoding",
        "位置编码",
        "How a model is told where a token stands.",
        "告诉模型词元站在哪里的办法。",
        "position",
    ),
    term(
        "layer",
        "layer, block",
        "层",
        "One of the equal parts that a model is a stack of: attention first, then a feed-forward network in most models. Layers are counted from zero.",
        "模型由一层层同样的部件叠成：多数模型里先是注意力，再是前馈网络。层从零数起。",
        "model",
    ),
    term(
        "attention",
        "attention",
        "注意力",
        "What moves something from earlier positions to later ones.",
        "把东西从前面的位置搬到后面的位置。",
        "attention",
    ),
    term(
        "head",
        "head",
        "注意力头",
        "One of the parts of a layer’s attention that each look by themselves.",
        "一层注意力里各自独立去看的一个部分。",
        "heads",
    ),
    term(
        "qkv",
        "query, key, value",
        "查询、键、值",
        "What a position asks, what others are matched by, and what those that match deliver. Each is made of the stream by trained weights.",
        "一个位置提出的问题，别的位置用来接受匹配的东西，以及匹配上之后交出的东西。三者都由残差流乘上训练好的权重得到。",
        "attention",
    ),
    term(
        "pattern",
        "attention pattern",
        "注意力模式",
        "For each position, how much a head looks at each position that it can see; these shares sum to one.",
        "每个位置上，一个头把多少注意力放在它看得到的各个位置；加起来等于一。",
        "attention",
    ),
    term(
        "sink",
        "attention sink",
        "注意力汇聚点",
        "A token, mostly the first, on which heads rest when they find nothing.",
        "注意力头找不到东西时停歇的词元，多半是第一个。",
        "attention",
    ),
    term(
        "induction",
        "induction head",
        "归纳头",
        "A head that looks for what came after the same token earlier in the text, and says it again.",
        "一种注意力头：找到同一个词元上次出现时后面跟着什么，然后照样再说一遍。",
        "heads",
    ),
    term(
        "ffn",
        "feed-forward network, FFN, MLP",
        "前馈网络（FFN）",
        "Neurons that work at each position by itself; also called MLP.",
        "在每个位置上各自加工的神经元；也叫 MLP。",
        "neurons",
    ),
    term(
        "neuron",
        "neuron",
        "神经元",
        "One unit of a feed-forward network: it measures how well the stream matches its key, and adds its value that many times.",
        "前馈网络的一个单元：量一量残差流与自己的键有多匹配，再按这个倍数加上自己的值。",
        "neurons",
    ),
    term(
        "expert",
        "expert, mixture of experts, MoE",
        "专家（MoE）",
        "One of several feed-forward networks of a layer, of which each token passes only a few.",
        "同一层里的多个前馈网络之一；每个词元只经过其中几个。",
        "model",
    ),
    term(
        "stream",
        "residual stream",
        "残差流",
        "The numbers at a position to which every layer adds.",
        "每个位置上的一组数，每层都往上添加。",
        "residual",
    ),
    term(
        "stroke",
        "stroke",
        "一笔",
        "What one part of the model adds to the residual stream: the embedding, the attention or the feed-forward network of a layer.",
        "模型的一个部件添到残差流上的东西：嵌入、某一层的注意力，或某一层的前馈网络。",
        "residual",
    ),
    term(
        "push",
        "push, direct logit attribution",
        "推力（直接 logit 归因）",
        "How far a stroke, head or neuron by itself moves the logit of a token, against the mean of all tokens.",
        "一笔、一个头或一个神经元单独把某个词元的分数推动多少，相对于全部词元的平均。",
        "residual",
    ),
    term(
        "norm",
        "norm, layer norm, RMS norm",
        "归一化",
        "Brings what is read from the stream to one size, so that many layers can be stacked.",
        "把从残差流读到的东西调到同样大小，这样才能叠很多层。",
        "model",
    ),
    term(
        "parameter",
        "parameter, weight",
        "参数、权重",
        "A number of the model that training has set. Parameters are the same for every prompt; activations are what a prompt makes of them.",
        "模型里由训练定下来的一个数。参数对每句提示词都一样；激活才是提示词算出来的。",
        "model",
    ),
    term(
        "activation",
        "activation",
        "激活",
        "A number that the model computes on the way, for this prompt.",
        "模型在这句提示词上一路算出来的中间数字。",
        "cache",
    ),
    term(
        "logit",
        "logit",
        "未归一化分数（logit）",
        "The score of a token before scores are made probabilities. Only differences mean something.",
        "换算成概率之前的分数。只有差值才有意义。",
        "next",
    ),
    term(
        "softmax",
        "softmax",
        "softmax",
        "How scores become shares that sum to one: e to the power of each, divided by the sum of all of these.",
        "把分数变成加起来等于一的份额：各自取 e 的那么多次方，再除以它们的总和。",
        "next",
    ),
    term(
        "board",
        "board of candidates, distribution",
        "候选榜（分布）",
        "Every token with its probability of coming next.",
        "每个词元以及它接下来出现的概率。",
        "next",
    ),
    term(
        "entropy",
        "entropy, bits",
        "熵、比特",
        "How undecided a board is: with one bit as undecided as between two equally likely tokens, with two bits as among four.",
        "一张候选榜有多犹豫：一比特相当于在两个同样可能的词元里选，两比特相当于四个。",
        "next",
    ),
    term(
        "surprise",
        "surprise, loss, nats",
        "惊讶度（loss）、奈特",
        "How little a model expected the token that came: minus the logarithm of its probability, in bits (base 2) or nats (base e). A nat is 1.44 bits.",
        "模型有多没料到出现的这个词元：概率取对数再变号，以比特（底为 2）或奈特（底为 e）计；一奈特是 1.44 比特。",
        "loss",
    ),
    term(
        "kl",
        "KL divergence",
        "KL 散度",
        "How far one board is from another, in bits or nats: zero if they are the same.",
        "一张候选榜离另一张有多远，以比特或奈特计；完全相同就是零。",
        "compare",
    ),
    term(
        "temperature",
        "temperature",
        "温度",
        "What logits are divided by before a token is drawn.",
        "抽取词元之前，用来除分数的数。",
        "next",
    ),
    term(
        "top_p",
        "top-p, nucleus sampling",
        "核采样（top-p）",
        "How much probability the pool holds from which a token is drawn.",
        "抽取词元的池子一共容纳多少概率。",
        "next",
    ),
    term(
        "cache",
        "KV cache",
        "键值缓存（KV cache）",
        "Keys and values of earlier tokens, kept so that they need not be computed again.",
        "前面词元的键和值，存下来就不用重算。",
        "cost",
    ),
    term(
        "flop",
        "FLOP, KiB, units of arithmetic and memory",
        "FLOP、KiB（运算量与内存的单位）",
        "A FLOP is one addition or multiplication, a byte (B) holds eight bits. k, M, G and T stand for a thousand, a million, and a thousand times more each; Ki, Mi and Gi for powers of two that are a little more.",
        "FLOP 是一次加法或乘法，字节（B）是八个比特。k、M、G、T 是一千、一百万，再各乘一千；Ki、Mi、Gi 是比它们略大的二的幂。",
        "cost",
    ),
    term(
        "hook",
        "hook, site",
        "钩子（hook）",
        "A named place in the forward pass at which a value can be recorded or replaced.",
        "前向计算里一个有名字的地方，可以在那里记录或替换数值。",
        "hooks",
    ),
    term(
        "lens",
        "logit lens",
        "logit lens",
        "Reading an unfinished residual stream as if the model stopped there.",
        "假设模型停在这一层，直接读出残差流。",
        "lens",
    ),
    term(
        "patching",
        "activation patching",
        "激活修补",
        "Putting values of a run on one prompt into a run on another, to see what carries the difference.",
        "把一句提示词运行时的数值放进另一句的运行里，看看是什么造成了差别。",
        "patch",
    ),
    term(
        "path",
        "path patching",
        "路径修补",
        "Patching only what one part hands to another, and not what it hands to all the rest.",
        "只替换一个部件交给另一个部件的东西，而不动它交给其他部件的。",
        "path",
    ),
    term(
        "ablation",
        "ablation",
        "消融",
        "Taking a part away, or putting its mean in its place, to see whether it is needed.",
        "拿掉一个部件，或换成它的平均值，看看是否需要它。",
        "ablate",
    ),
    term(
        "attribution",
        "attribution patching",
        "归因修补",
        "An estimate of every patch at once, from one backward pass.",
        "用一次反向传播同时估计所有的修补结果。",
        "attribute",
    ),
    term(
        "logit_difference",
        "logit difference",
        "分数差（logit difference）",
        "The logit of the right answer less that of a wrong one.",
        "正确答案的分数减去一个错误答案的分数。",
        "patch",
    ),
    term(
        "recovered",
        "recovered",
        "恢复比例",
        "How much of what separates two runs a patch brings back: zero for none of it, one for all.",
        "一次修补找回了两次运行之间差别的多少：零是一点没有，一是全部。",
        "patch",
    ),
];

/// The term of this key.
pub fn by_key(key: &str) -> Option<&'static Term> {
    TERMS.iter().find(|term| term.key == key)
}

/// Terms that a word asks for: of this name or key in either language, else those whose names have it in them.
pub fn find(word: &str) -> Vec<&'static Term> {
    let word = word.trim().to_lowercase();
    let names = |term: &Term| -> Vec<String> {
        let (zh, en) = (term.zh.replace(['（', '）'], "、"), term.en.replace(", ", "、"));
        let all = format!("{}、{en}、{zh}、{}", term.key.replace('_', "-"), term.zh);
        all.split('、').filter(|name| !name.is_empty()).map(str::to_lowercase).collect()
    };
    let bare = word.replace('_', "-");
    let of_name = |name: &String| *name == bare || format!("{name}s") == bare;
    let exact: Vec<_> = TERMS.iter().filter(|term| names(term).iter().any(of_name)).collect();
    match exact.is_empty() && !bare.is_empty() {
        true => TERMS.iter().filter(|term| names(term).iter().any(|name| name.contains(&bare))).collect(),
        false => exact,
    }
}
