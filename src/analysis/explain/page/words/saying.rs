//! Strings of what it says: the board, sampling, continuations, cost.

use super::Word;

/// The strings.
pub const WORDS: &[Word] = &[
    ("board.short", "Board", "候选榜"),
    ("board.q", "What else could it have said, and how sure was it?", "它还可能说什么？有多确定？"),
    (
        "board.undecided",
        "It is as undecided as a choice among {n} equally likely tokens (an [entropy:entropy] of {bits} bits). Anything but {token} has a chance of {rest}.",
        "它的犹豫程度相当于在 {n} 个同样可能的词元里选一个（[entropy:熵]为 {bits} 比特）。除 {token} 以外的任何答案，机会一共是 {rest}。",
    ),
    (
        "board.second",
        "Second is {token}, with {p}. The {others} tokens that the board does not list have {tail} together: before anything is cut, no token is impossible.",
        "第二名是 {token}，概率 {p}。榜上没列出的 {others} 个词元一共占 {tail}：在剪掉任何东西之前，没有哪个词元是绝对不可能的。",
    ),
    (
        "board.closer",
        "The model gives each token a [logit:logit]; <code>probability = e^logit ÷ sum of e^logit over all tokens</code>. Only differences count: {a} has {la} and {b} has {lb}, and e to the power of that difference is how many times more likely it is: {pa} against {pb}.",
        "模型给每个词元一个[logit:未归一化分数（logit）]；<code>概率 = e^分数 ÷ 所有词元的 e^分数之和</code>。只有差值起作用：{a} 是 {la}，{b} 是 {lb}，e 的“差值次方”就是前者的可能性是后者的多少倍：{pa} 对 {pb}。",
    ),
    (
        "board.careful",
        "Sure is not right. The probability says how usual this token is after such a text, going by what the model learnt; nothing here looked anything up. The same question in other words has another board.",
        "确定不等于正确。概率说的是按模型学到的，这样一段话后面跟着这个词元有多常见；这里没有任何一步去查证。同一个问题换个说法，榜就不同。",
    ),
    ("sampling.short", "Temperature, top-p", "温度与核采样"),
    (
        "sampling.q",
        "What do temperature and top-p change, and what do they leave alone?",
        "温度和 top-p 改变什么？不改变什么？",
    ),
    (
        "sampling.temperature",
        "[temperature:Temperature] is the risk: it makes the likely likelier or lets the unlikely catch up. {token} is drawn with {p0} at temperature {t0}, with {p1} where nothing is done, and with {p2} at temperature {t2}.",
        "[temperature:温度]就是冒险程度：它让可能的更可能，或者让不太可能的追上来。{token} 被抽中的概率在温度 {t0} 时是 {p0}，什么都不做时是 {p1}，温度 {t2} 时是 {p2}。",
    ),
    (
        "sampling.top_p",
        "[top_p:Top-p] is the size of the pool: with {p}, the most likely tokens are kept until they hold that much: here {kept} of {v} tokens; any others cannot be drawn at all.",
        "[top_p:top-p（核采样）]就是池子的大小：设为 {p} 时，从最可能的开始保留，直到占满这么多概率；这里 {v} 个词元里留下 {kept} 个，其余的根本不会被抽到。",
    ),
    (
        "sampling.single",
        "So here the pool is one token: {token} has {p1} by itself, more than {p}, and top-p leaves nothing to chance. Temperature comes first and can change that: at temperature {t}, with the same top-p, tokens in the pool: {kept}.",
        "所以这里的池子只有一个词元：{token} 自己就有 {p1}，超过了 {p}，top-p 没有给偶然留下余地。温度先起作用，可以改变这一点：温度 {t}、top-p 不变时，池子里的词元有 {kept} 个。",
    ),
    (
        "sampling.alone",
        "Both are done after the model has finished. They leave alone what the model computed: the logit of {token} is {logit} whatever you choose, the order of the tokens stays, and no token becomes truer. A low temperature makes the answer repeatable, not right.",
        "这两样都是在模型算完之后才做的，不会改变模型算出来的东西：无论怎么选，{token} 的分数都是 {logit}，词元的先后顺序不变，也没有哪个词元因此更真实。低温只让答案更可重复，并不让它更正确。",
    ),
    ("sampling.choose", "Choose a temperature and a top-p", "选择温度和 top-p"),
    ("sampling.label", "temperature {t}, top-p {p}", "温度 {t}，top-p {p}"),
    (
        "sampling.panel",
        "Temperature {t}, top-p {p}. Tokens that can be drawn: {kept}.",
        "温度 {t}，top-p {p}。可能被抽到的词元：{kept} 个。",
    ),
    ("sampling.figure", "What can be drawn", "可能被抽到的词元"),
    ("sampling.cut", "cut", "被剪掉"),
    ("sampling.rest", "all others", "其余全部"),
    ("sampling.live", "What can be drawn, as you slide", "拖动时可能被抽到的词元"),
    ("sampling.slide.t", "Temperature", "温度"),
    ("sampling.slide.p", "Top-p", "top-p"),
    (
        "sampling.caption",
        "The board after temperature and top-p. The boards to choose from were computed exactly; the sliders, where scripts run, compute others from the same logits, what is beyond the board by interpolation.",
        "经过温度和 top-p 之后的候选榜。可选的几张榜都是精确计算的；如果浏览器运行脚本，滑块会用同样的分数计算别的组合，榜外的部分按插值估计。",
    ),
    (
        "sampling.closer",
        "Temperature divides every logit before probabilities are made: {logit} divided by {t} is {after}. Then top-p adds up tokens from the most likely on until they hold p, cuts the others, and scales those that are left so that they come to one. The order in which programs do both differs, and so can the pool.",
        "温度是在换算成概率之前，把每个分数除以它：{logit} 除以 {t} 等于 {after}。然后 top-p 从最可能的往下加，加到达到 p 为止（包括刚好越过 p 的那一个），其余剪掉，再把剩下的放大到合计为一。不同程序里这两步的先后不同，池子也就可能不同。",
    ),
    (
        "sampling.careful",
        "Temperature is not creativity and top-p is not quality. At temperature zero the same token comes each time, and if it is wrong, it is wrong each time.",
        "温度不是创造力，top-p 也不是质量。温度为零时每次都是同一个词元；如果它是错的，那就每次都错。",
    ),
    ("traces.short", "Continuations", "续写"),
    ("traces.q", "What would it write?", "它会写出什么？"),
    (
        "traces.a",
        "{n} {n?continuation was:continuations were} drawn as the model says, with nothing cut. Different texts among them: {m}; those that begin with {token}, the first of the board: {g}. A token that was drawn becomes input: all that follows is built on it, right or wrong.",
        "按模型给出的概率、不做任何裁剪，抽了 {n} 次续写：共有 {m} 种不同的文字，{g} 次以榜首 {token} 开头。抽出来的词元会变成输入：后面的一切都建立在它上面，无论对错。",
    ),
    (
        "traces.caption",
        "A tree: what continuations have in common stands once, and behind it how many continuations go that way, where it is more than one. The percentage is what the model gave the first token of each branch.",
        "一棵树：共同的部分只写一次，括号里是有几次续写走这条路（只有一次的不写）。百分比是模型给每个分支第一个词元的概率。",
    ),
    (
        "traces.closer",
        "Probabilities multiply: the first continuation has {n} {n?token:tokens}, the logarithms of their probabilities sum to {log}, and so it has a chance of {p} as a whole.",
        "概率是相乘的：第一条续写有 {n} 个词元，它们概率的对数加起来是 {log}，所以整条出现的机会是 {p}。",
    ),
    (
        "traces.tiny",
        "Probabilities multiply: the first continuation has {n} {n?token:tokens}, the logarithms of their probabilities sum to {log}, and so its chance as a whole is less than one in a million million. Yet one continuation had to be drawn, and each has as little.",
        "概率是相乘的：第一条续写有 {n} 个词元，它们概率的对数加起来是 {log}，所以整条出现的机会不到一万亿分之一。可是总得抽出一条来，而每一条的机会都这么小。",
    ),
    (
        "traces.careful",
        "Another seed draws other continuations; a text that was drawn once is no more the model’s opinion than one throw is a die’s.",
        "换个随机种子就会抽出别的续写；抽到一次的文字并不是模型的“看法”，就像掷出一次的点数不是骰子的看法一样。",
    ),
    ("cost.short", "Cost, errors", "代价与出错"),
    ("cost.q", "Why does a longer prompt cost more?", "为什么提示词越长代价越高？"),
    (
        "cost.a",
        "Every new token looks back at all before it, and what it needs of them is kept (the [cache:key–value cache]): {each} for each token. After {n} {n?token:tokens} one more takes {flops} of arithmetic and a cache of {kv}; after {m} tokens it takes {flops2} and {kv2}. Each token takes its own again: a prompt of twice the length costs twice as much at least.",
        "每个新词元都要回看前面所有的词元，为此要把它们的键和值存下来（[cache:键值缓存]）：每个词元 {each}。已有 {n} 个词元时，再来一个要 {flops} 的运算和 {kv} 的缓存；已有 {m} 个时，要 {flops2} 和 {kv2}。每个词元都要各算一遍：提示词长一倍，代价至少翻倍。",
    ),
    (
        "cost.whole",
        "Every token looks at every other: {n} {n?token takes:tokens take} {flops} of arithmetic, and {m} take {flops2}. Nothing is kept for a next token (a cache of {kv} and {kv2}, {each} for each token).",
        "每个词元都要看其他所有词元：{n} 个词元要 {flops} 的运算，{m} 个要 {flops2}。没有什么要为下一个词元保留（缓存为 {kv} 和 {kv2}，每个词元 {each}）。",
    ),
    ("cost.figure", "What one more token takes", "再来一个词元的代价"),
    (
        "cost.caption",
        "Counted from the architecture, with sixteen bits a number, in [flop:units of arithmetic and memory]. Each row is one more token; a whole prompt takes that once for each of its tokens. Looking back grows with the context; the rest is the same for each token.",
        "按架构精确计数，每个数占十六比特，[flop:单位]见词汇。每一行是再来一个词元的代价；整段提示词有几个词元就要算几遍。回看的部分随上下文增长，其余部分对每个词元都一样。",
    ),
    ("cost.wrong.q", "Why can a good prompt still yield a wrong answer?", "为什么提示词很好，答案仍可能是错的？"),
    (
        "cost.wrong",
        "The first of a board can itself be wrong. And where {token} is right, it has {p} only: {rest} of the draws say something else at the very first token; a drawn token becomes input, and the rest follows it. If each of twenty tokens had the same {p}, all twenty would be the first of their boards with {twenty} only.",
        "榜首本身就可能是错的。就算榜首 {token} 是对的，它也只有 {p}，第一个词元就有 {rest} 的机会抽到别的；抽到的词元成了输入，后面就跟着它走。假如连续二十个词元每个都是 {p}，二十个全部是榜首的机会只有 {twenty}。",
    ),
    (
        "cost.truth",
        "And because nothing in all these steps checks what is true: a probability says how usual, not how true. What is usual in the training text and false comes out as surely as what is true.",
        "还因为这些步骤里没有一步检查真假：概率说的是多常见，不是多真实。训练文本里常见而错误的东西，会和正确的一样笃定地说出来。",
    ),
    (
        "cost.closer",
        "The model has {parameters} [parameter:parameters], and each that a token uses costs a multiplication and an addition; that is the fixed part. Looking back takes {attention} of the {flops} here.",
        "模型有 {parameters} 个[parameter:参数]，一个词元用到的每个参数都要一次乘法和一次加法，这是固定部分。这里 {flops} 当中，回看占 {attention}。",
    ),
    (
        "cost.crossover",
        "At {n} {n?token:tokens} looking back would take as much as all the rest.",
        "到 {n} 个词元时，回看的运算量就和其余部分一样多。",
    ),
    (
        "cost.never",
        "In this model looking back never takes as much as all the rest, or it does not go on token by token.",
        "在这个模型里，回看的运算量永远不会超过其余部分，或者它根本不是逐个词元续写的。",
    ),
    (
        "cost.careful",
        "Operations are not seconds: a machine spends much of its time fetching weights and cache. And a longer prompt may well give a better answer; it is not free.",
        "运算量不等于秒数：机器很多时间花在读取权重和缓存上。而且更长的提示词很可能换来更好的答案，只是不免费。",
    ),
];
