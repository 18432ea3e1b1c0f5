//! Strings of what happens inside: attention, feed-forward network, residual stream.

use super::Word;

/// The strings.
pub const WORDS: &[Word] = &[
    ("attention.short", "Attention", "注意力"),
    (
        "attention.q",
        "From which earlier words did the last position take something?",
        "最后一个位置从前面的哪些词拿了东西？",
    ),
    (
        "attention.a",
        "[attention:Attention] moves. In each of {heads} [head:{heads?head:heads}] the last position asks ([qkv:query]), every earlier one is matched ([qkv:key]), and those that match deliver something ([qkv:value]): who asks, who is matched, who delivers.",
        "[attention:注意力]负责搬运。在 {heads} 个[head:注意力头]的每一个里，最后一个位置提问（[qkv:查询]），前面每个位置接受匹配（[qkv:键]），匹配上的交出东西（[qkv:值]）：谁在问、谁被匹配、谁交货。",
    ),
    (
        "attention.alike",
        "The head that moves the answer most is head {head} of layer {layer}. From the last position it looks most at {looked} (position {lp}), with {prob} of its attention, and from there comes most of what it does for {target}: {lpush} logits. Here looking and using go together; they need not.",
        "对答案影响最大的是第 {layer} 层的第 {head} 个头。它从最后一个位置看得最多的是 {looked}（位置 {lp}），占注意力的 {prob}，而它对 {target} 的作用也主要来自那里：{lpush}。在这里“看”和“用”是一致的，但并不总是如此。",
    ),
    (
        "attention.differ",
        "The head that moves the answer most is head {head} of layer {layer}. From the last position it looks most at {looked} (position {lp}), with {prob} of its attention, which gives {target} {lpush} logits. But {pushed} (position {pp}), with {pprob} of its attention, gives {push}: looking is not using.",
        "对答案影响最大的是第 {layer} 层的第 {head} 个头。它从最后一个位置看得最多的是 {looked}（位置 {lp}），占注意力的 {prob}，给 {target} 的推力是 {lpush}。但只占 {pprob} 的 {pushed}（位置 {pp}）推了 {push}：看得多不等于用得多。",
    ),
    (
        "attention.only",
        "There is one token only, and the last position can look at nothing but itself: {looked} (position {lp}), with {prob} in head {head} of layer {layer}.",
        "只有一个词元，最后一个位置只能看自己：第 {layer} 层第 {head} 个头里，{looked}（位置 {lp}）占 {prob}。",
    ),
    (
        "attention.sinks",
        "Of {all} heads, {n} {n?looks:look} from the last position at the first token, {first}, with more than half of {n?its:their} attention. Usually such a head looks much and carries little: an [sink:attention sink], where it rests when it finds nothing. That is no bug.",
        "{all} 个头里有 {n} 个从最后一个位置把一半以上的注意力放在第一个词元 {first} 上。这样的头通常看得多、搬得少：这叫[sink:注意力汇聚点]，找不到东西时就歇在那里。这不是故障。",
    ),
    (
        "attention.nosinks",
        "[sink:Attention sinks], heads that rest on the first token with more than half of their attention: from the last position, {n} of {all} here, where larger models often have many. That would be no bug: such a head looks much and carries little.",
        "[sink:注意力汇聚点]，也就是把一半以上注意力歇在第一个词元上的头：从最后一个位置看，{all} 个头里有 {n} 个，更大的模型里往往有很多。那并不是故障：这样的头看得多、搬得少。",
    ),
    (
        "attention.grouped",
        "In this model {n} heads at a time share keys and values ({kv} pairs in a layer): they ask differently of the same store, which keeps the cache small.",
        "这个模型里每 {n} 个头共用一套键和值（每层 {kv} 套）：提的问题不同，查的是同一个仓库，这样缓存更小。",
    ),
    (
        "attention.earlier",
        "One head did most for {target} with one earlier word: head {head} of layer {layer} took {push} logits from {key} (position {pos}), with {prob} of its attention there.",
        "只看一个头和前面的一个词，对 {target} 推得最多的是：第 {layer} 层第 {head} 个头从 {key}（位置 {pos}）拿来 {push}，它在那里放了 {prob} 的注意力。",
    ),
    (
        "attention.carries",
        "The head above looks there too, and does carry something from there: looking alone does not tell a sink.",
        "上面说的那个头也看那里，却真的搬了东西：光凭看，分不出是不是汇聚点。",
    ),
    ("attention.figure", "What the strongest head took", "影响最大的头拿了什么"),
    (
        "attention.caption",
        "Three bars for each earlier token: how much the head looked at it, how long what it carried from there is, and how far that pushed the answer (right: towards it, left: away).",
        "前面每个词元三根条：看了多少、从那里搬来的向量有多长、它把答案推了多远（向右是推近，向左是推远）。",
    ),
    ("attention.strips", "What every head looks at from the last position", "每个头从最后一个位置看向哪里"),
    (
        "attention.strips.caption",
        "One line for each of {n} heads, the first layer on top, with layers numbered at the left; one column for each token of the prompt. The darker (in dark mode, the lighter), the more the head looks at that token from the last position. In the table, what a head pushes from the token that it looks at most is a part of what the whole head pushes.",
        "{n} 个头每个一行，第一层在最上面，左边是层号；每一列是提示词里的一个词元。颜色越深（深色模式下越亮），说明从最后一个位置看它越多。表里“从那里推了多少”只是整个头推力的一部分。",
    ),
    ("attention.square", "All of one head", "一个头的全貌"),
    (
        "attention.square.caption",
        "Head {head} of layer {layer} from every position (down) to every position (along). Above the diagonal it is empty where a token cannot see what comes after it.",
        "第 {layer} 层第 {head} 个头：纵向是提问的位置，横向是被看的位置。词元看不到后面的内容时，对角线上方是空的。",
    ),
    (
        "attention.closer",
        "For {query} looking at {key}: query times key, times {scale}, is the score {score}. <code>weight = e^score ÷ sum of e^score over all keys</code> makes it {prob}. What is delivered, of length {value}, times that weight and through the head’s output map has length {out}: {share} of all that this head adds, along its direction. Weights sum to one; shares do too, and one may be negative.",
        "以 {query} 看 {key} 为例：查询乘以键，再乘 {scale}，得到分数 {score}。<code>权重 = e^分数 ÷ 所有键的 e^分数之和</code>，结果是 {prob}。交出来的值长度为 {value}，乘上权重、再经过该头的输出映射，长度为 {out}：沿着这个头写入的方向，占它全部写入的 {share}。权重加起来等于一；份额也是，但个别份额可能是负的。",
    ),
    (
        "attention.capped",
        "This model bends large scores down: before its cap the score was {raw}, after it {score}.",
        "这个模型会把过大的分数压低：封顶前是 {raw}，封顶后是 {score}。",
    ),
    (
        "attention.careful",
        "A bright cell means that a head looked there, not that the model understood or used it. What is carried can be tiny, and another head may undo it. The heads of a layer, and the bias of its output where it has one, make up its stroke together. Whether it mattered is found by changing it: <code>pellucid patch</code>.",
        "格子亮只说明头看了那里，并不说明模型理解了或用到了它。搬来的东西可能很小，别的头也可能把它抵消。一层的各个头，加上输出偏置（如果有），合起来才是这一层的一笔。要知道是否真的重要，得去改动它再看结果：<code>pellucid patch</code>。",
    ),
    ("ffn.short", "Feed-forward", "前馈网络"),
    ("ffn.q", "What did the feed-forward network add, and where is a fact stored?", "前馈网络加了什么？事实存在哪里？"),
    (
        "ffn.none",
        "Nothing: this model has no feed-forward network. Its {layers} layers are attention alone, so all that it does is moving, and no neuron holds anything.",
        "什么都没加：这个模型没有前馈网络，它的 {layers} 层只有注意力，所做的全是搬运，也没有神经元存放任何东西。",
    ),
    (
        "ffn.a",
        "Attention moves, the [ffn:feed-forward network (FFN)] works on what was moved. Among those of all layers that of layer {layer} stands out: its {n} [neuron:neurons] together push {target} by {push} logits.",
        "注意力负责搬运，[ffn:前馈网络（FFN）]负责加工搬来的东西。各层的前馈网络里，第 {layer} 层最突出：它的 {n} 个[neuron:神经元]合起来把 {target} 推了 {push}。",
    ),
    (
        "ffn.nothing",
        "Attention moves, the [ffn:feed-forward network (FFN)] works on what was moved. Among those of all layers none stands out; that of layer {layer}, with {n} [neuron:neurons], pushes {target} furthest, by {push} logits (below zero: away from it).",
        "注意力负责搬运，[ffn:前馈网络（FFN）]负责加工搬来的东西。各层之间没有哪一层特别突出；推得最远的是第 {layer} 层，它的 {n} 个[neuron:神经元]把 {target} 推了 {push}（小于零表示推远）。",
    ),
    (
        "ffn.spread",
        "Of the {of} strongest neurons of all layers, layer {layer} has {shown}; together {share} of what its network adds comes from there, and {rest} is spread over all its others.",
        "在各层最强的 {of} 个神经元里，有 {shown} 个在第 {layer} 层；它们占该层前馈网络写入量的 {share}，其余 {rest} 分散在别的神经元上。",
    ),
    (
        "ffn.fact",
        "So one cannot point to the place where what it knows is stored: many neurons each add a little, the same neuron serves many facts, and what pushes an answer here may be idle for the same fact in other words. What can be said is which neurons pushed, on this prompt, and how far.",
        "所以不能指着某处说“这个事实就存在这里”：许多神经元各加一点，同一个神经元服务于许多事实；换一种说法问同一个事实，起作用的可能是另一些。能说的只是：在这句话上，哪些神经元推了、推了多少。",
    ),
    (
        "ffn.experts",
        "This model has {n} such networks in a layer, called [expert:experts], and each token goes through {k} of them, chosen by a router.",
        "这个模型每层有 {n} 个这样的网络，叫作[expert:专家]；每个词元只经过路由器选出的 {k} 个。",
    ),
    ("ffn.figure", "The strongest neurons", "最强的神经元"),
    (
        "ffn.caption",
        "The neurons that push the answer most, towards it or away, of {n} in each layer: how active each is, how far it pushes, its share of what its layer’s network adds, and three tokens that its write pulls towards. A neuron that pushes away stands to the left. The share is of length, along the direction of all that the network adds: one that points against it is below zero.",
        "把答案推得最多（推近或推远）的神经元（每层共 {n} 个）：激活多大、推了多少、占本层前馈网络写入的份额，以及它的写入拉向的三个词元。向左表示推远。份额按长度算：沿着全部写入的方向占多少，方向相反的小于零。",
    ),
    (
        "ffn.closer",
        "A neuron is a key and a value <cite>(Geva et al. 2021)</cite>: it measures how well the stream matches its key, and adds its value that many times. Neuron {neuron} of layer {layer} measured {pre}, its nonlinearity made {post} of it, and so it added a stroke of length {length}, which pushes the answer by {push}.",
        "一个神经元就是一把键加一份值 <cite>(Geva et al. 2021)</cite>：先量一量残差流与键有多匹配，再按这个倍数加上自己的值。第 {layer} 层第 {neuron} 个神经元量得 {pre}，经非线性后是 {post}，于是加上长度为 {length} 的一笔，把答案推了 {push}。",
    ),
    (
        "ffn.closer.gated",
        "A neuron is a key and a value <cite>(Geva et al. 2021)</cite>: it measures how well the stream matches its key, and adds its value that many times. In this model a second reading of the stream multiplies what was measured. Neuron {neuron} of layer {layer} measured {pre}; that, through its nonlinearity, times the second reading, {gate}, is {post}. So it added its value {post} times, a stroke of length {length}, which pushes the answer by {push}.",
        "一个神经元就是一把键加一份值 <cite>(Geva et al. 2021)</cite>：先量一量残差流与键有多匹配，再按这个倍数加上自己的值。在这个模型里，量得的数还要乘上残差流的另一个读数。第 {layer} 层第 {neuron} 个神经元量得 {pre}；它经过非线性，再乘上另一个读数 {gate}，得到 {post}。于是把自己的值加了 {post} 倍，也就是长度为 {length} 的一笔，把答案推了 {push}。",
    ),
    (
        "ffn.careful",
        "The tokens that a neuron pulls towards are not its meaning, and a high number is not a cause: take the neuron away and others may fill in. Whether it is needed is found by <code>pellucid ablate</code>.",
        "神经元拉向的词元并不是它的“含义”，数字大也不等于是原因：拿掉它，别的可能会补上。是否真的需要它，要用 <code>pellucid ablate</code> 来检验。",
    ),
    ("stream.short", "Stream", "残差流"),
    (
        "stream.q",
        "In which layer did the answer come first, and which strokes pushed it?",
        "答案在哪一层排到第一？是哪几笔推的？",
    ),
    (
        "stream.early",
        "From the end of layer {layer} on (counted from zero, of {n} {n?layer:layers}) {target} would come first if the model stopped there, and so it stays.",
        "从第 {layer} 层结束起（从零数，共 {n} 层），如果模型就停在那里，{target} 已经排第一，之后一直如此。",
    ),
    (
        "stream.last",
        "Only at the end of layer {layer}, the last of {n}, does {target} come first to stay.",
        "直到最后一层（第 {layer} 层，共 {n} 层）结束，{target} 才排到第一并稳定下来。",
    ),
    (
        "stream.strongest",
        "Among the [stroke:strokes] one stands out: {stroke} [push:pushes] {target} by {push} logits, of {all} that all {n} strokes and the biases at the end come to: its logit less the mean of all logits.",
        "有一[stroke:笔]特别突出：{stroke} 把 {target} [push:推]了 {push}；全部 {n} 笔加上最后的偏置一共是 {all}，也就是它的分数减去所有分数的平均。",
    ),
    (
        "stream.nothing",
        "No [stroke:stroke] stands out among all: the one that goes furthest, {stroke}, [push:pushes] {target} by {push} logits (below zero: away from it), of {all} that all {n} strokes and the biases at the end come to: its logit less the mean of all logits.",
        "全部各笔里没有哪一[stroke:笔]特别突出：走得最远的是 {stroke}，把 {target} [push:推]了 {push}（小于零表示推远）；全部 {n} 笔加上最后的偏置一共是 {all}，也就是它的分数减去所有分数的平均。",
    ),
    (
        "stream.furthest",
        "Furthest towards {target}: {list}. Furthest away from it: {away}.",
        "把 {target} 推近最多的是 {list}；推远最多的是 {away}。",
    ),
    (
        "stream.towards",
        "Furthest towards {target}: {list}. None points away from it.",
        "把 {target} 推近最多的是 {list}；没有哪一笔把它推远。",
    ),
    (
        "stream.strokes",
        "What [layer:layers] hand on at each position is a list of numbers, the [stream:residual stream]. Each layer adds a stroke to it and rewrites nothing. But a later stroke may cancel an earlier one, so nothing is safe either: of these {n} strokes, {against} {against?points:point} away from {target}.",
        "各[layer:层]之间传递的是每个位置上的一组数，叫作[stream:残差流]。每一层都在上面添一笔，不改写任何已有的东西。但后面的一笔可以抵消前面的，所以也没有什么是保险的：这 {n} 笔里有 {against} 笔是把 {target} 往外推的。",
    ),
    ("stream.figure", "Strokes", "每一笔"),
    (
        "stream.caption",
        "Strokes at the last position, in order: how far each pushes {target} (right: towards it), all up to it together, what the model would say if it stopped there, and how long the stroke is. A long stroke need not push; and it pushes other tokens too, so that the answer may become less likely although it is pushed up.",
        "最后一个位置上的每一笔，按先后排列：各自把 {target} 推了多少（向右是推近）、到此为止的累计、若停在这里模型会说什么、这一笔有多长。长的一笔不一定推得多；它也会推别的词元，所以答案即使被推近，概率也可能下降。",
    ),
    ("stream.ranks", "Place of the answer, layer by position", "答案在各层各位置的名次"),
    (
        "stream.ranks.caption",
        "The place of {target} on the board if the model stopped after a layer (down, the last on top), for the tokens of the prompt (along; of a long one the last). One is first, a large number far behind; the last column is the position that decides.",
        "如果停在某一层之后（纵向，最后一层在上），{target} 在候选榜上的名次；横向是提示词的词元（太长时只列最后一些）。数字一就是第一，越大越靠后；最后一列才是做决定的位置。",
    ),
    (
        "stream.closer",
        "A logit says how far the last stream points to a token, and a stream is a sum: so the strokes’ parts add up. Embedding {embed}, position {pos}, all attention {attn}, all FFN {mlp}, biases at the end {bias}: together {all}, the logit of {target} less the mean logit. Added up, they miss what the model itself computes by no more than {gap} of the spread of all logits: rounding.",
        "未归一化分数（logit）说的是最终的残差流指向某个词元的程度，而残差流是一个和，所以各笔的贡献可以相加。嵌入 {embed}、位置 {pos}、全部注意力 {attn}、全部前馈网络 {mlp}、最后的偏置 {bias}：合计 {all}，就是 {target} 的分数减去平均分数。加起来和模型自己算出的相差不超过全部分数跨度的 {gap}，那是舍入误差。",
    ),
    (
        "stream.mean",
        "The logit of {target} by itself is {logit}, and the mean of the logits of all tokens {mean}: what strokes push is the difference.",
        "{target} 自己的分数是 {logit}，全部词元分数的平均是 {mean}：各笔推的就是两者之差。",
    ),
    (
        "stream.careful",
        "“If the model stopped here” reads an unfinished stream with the last layer’s glasses ([lens:logit lens]). Early layers may write in a code that these glasses cannot read; a strange token there is no thought of the model’s.",
        "“若停在这里”是用最后一层的眼镜去看没写完的残差流（[lens:logit lens]）。前面的层可能用这副眼镜读不懂的方式书写；那里出现的怪词元并不是模型的“想法”。",
    ),
    ("stroke.embed", "embedding", "嵌入"),
    ("stroke.pos", "position", "位置"),
    ("stroke.attn", "attention", "注意力"),
    ("stroke.mlp", "FFN", "前馈网络"),
    ("stroke.bias", "biases at the end", "最后的偏置"),
];
