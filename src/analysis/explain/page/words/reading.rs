//! Strings of what the model receives: tokens, embeddings, positions.

use super::Word;

/// The strings.
pub const WORDS: &[Word] = &[
    ("tokens.short", "Tokens", "词元"),
    ("tokens.q", "What exactly did the model receive?", "模型收到的到底是什么？"),
    (
        "tokens.a",
        "{n} {n?integer:integers}, and nothing else: the model reads integers. The text was cut into {n} {n?piece:pieces}, called [token:tokens], and of each the model gets its number in a fixed list; the first, {first}, is number {id}.",
        "{n} 个整数，此外什么都没有：模型读的是整数。文字被切成 {n} 块，叫作[token:词元（token）]，模型拿到的只是每一块在一张固定清单里的编号；第一块 {first} 的编号是 {id}。",
    ),
    (
        "tokens.counts",
        "The text of {chars} {chars?character:characters} became {n} {n?token:tokens}, out of a list of {v}.",
        "这段文字有 {chars} 个字符，变成了 {n} 个词元；清单里共有 {v} 个词元。",
    ),
    (
        "tokens.added",
        "The tokenizer itself added {n} to what you wrote, drawn with a dashed border.",
        "分词器自己又加了 {n} 个，图中用虚线框表示。",
    ),
    (
        "tokens.none",
        "This model has no tokenizer: its integers were given directly, and no text was cut.",
        "这个模型没有分词器：整数是直接给它的，并没有切分文字。",
    ),
    (
        "tokens.partial",
        "Some tokens here are not even whole characters: a character of several bytes was cut between them, and they are written as bytes.",
        "这里有些词元连完整的字符都不是：一个由几个字节组成的字被切开了，所以按字节写出来。",
    ),
    (
        "tokens.caption",
        "All that the model receives: the tokens in order, and under each its number. The pieces are for you; only the numbers go in.",
        "模型收到的全部内容：按顺序排列的词元，下面是各自的编号。文字片段是给你看的，真正送进去的只有编号。",
    ),
    (
        "tokens.letters",
        "Why it may miscount letters: they are not handed over. Take the word {word} and the letter {letter}. The word has {k} of that letter; tokens that it arrives as: {m}; of these, tokens with the letter somewhere in them: {with}; tokens that are the letter alone: {are}.",
        "为什么它可能数错字母：字母并没有交给它。拿单词 {word} 和字母 {letter} 来说：单词里有 {k} 个这样的字母；而它是以 {m} 个词元送进来的，其中含有这个字母的有 {with} 个，恰好就是这个字母的有 {are} 个。",
    ),
    (
        "tokens.honest",
        "But “it never saw letters” is not all of it. What a token is turned into does hold some of its spelling, mostly the first letter <cite>(Itzhak and Levy 2021; Kaushal and Mahowald 2022; Hiraoka and Inui 2025)</cite>. And counting is hard in itself for such a model. To count, it has to find each letter and keep a running number, one step after another; its steps are its layers, {layers} of them and no more, whatever the question and however long the word, and these have everything else to do as well. Even if each letter came as a token of its own, they would have to be counted ({k} here).",
        "但“它从没见过字母”并不是全部原因。词元变成的向量里确实含有一部分拼写信息，主要是首字母 <cite>(Itzhak and Levy 2021; Kaushal and Mahowald 2022; Hiraoka and Inui 2025)</cite>。而且计数本身对这种模型就很难：要数，就得一步一步地找到每个字母、把数目往上加；而它的步数就是层数，不管问什么、单词多长，都只有 {layers} 层，而这些层还有别的事要做。就算每个字母单独成一个词元，这 {k} 个也还是得去数。",
    ),
    (
        "tokens.ids",
        "Letters are not handed over, only numbers ({n} here); so a model may miscount letters. It is not all of it: what a token is turned into holds some of its spelling, and counting is hard for such a model in itself, which has as many steps as layers ({layers}) and no more.",
        "交给模型的不是字母，只有 {n} 个编号，所以它可能数错字母。但这不是全部原因：词元变成的向量里含有一部分拼写信息，而且计数本身对这种模型就很难：它的步数就是层数，只有 {layers} 层。",
    ),
    (
        "tokens.closer",
        "How the longest word was cut: it began as single symbols, and again and again the two neighbours whose pair was found earliest in training (lowest rank) became one. This is [bpe:byte-pair encoding], computed here step by step. A word that was found whole needs no row.",
        "最长的那个词是这样切出来的：一开始是单个符号，然后反复把“训练时最早发现的一对”（名次最小）邻居合成一个。这就是[bpe:字节对编码（BPE）]，下面是逐步计算出来的。清单里本来就有的整词，不用合并。",
    ),
    (
        "tokens.unmerged",
        "The tokenizer of this model is {kind}: it joins no pairs step by step, so there are no merges to show.",
        "这个模型的分词器是 {kind}：它不是一步步合并字符对的，所以没有合并步骤可以展示。",
    ),
    ("tokens.merges", "Merges of the longest word", "最长单词的合并步骤"),
    (
        "tokens.careful",
        "A token is no word and no syllable, and another model cuts elsewhere. The space before a word belongs to its token: with and without it, the same word is two different numbers.",
        "词元既不是单词也不是音节，换一个模型切法就不同。单词前面的空格属于词元：有空格和没空格，同一个词就是两个不同的编号。",
    ),
    ("embed.short", "Embedding", "嵌入"),
    ("embed.q", "What does a number become, and what does “near” mean?", "一个编号会变成什么？“相近”又是什么意思？"),
    (
        "embed.a",
        "Each number picks its row of a table with {v} rows: {d} coordinates, its [embedding:embedding]. They were trained, not labelled: no one wrote down what any single coordinate stands for.",
        "每个编号都从一张有 {v} 行的表里取出自己那一行：{d} 个坐标，这就是它的[embedding:嵌入（embedding）]。这些坐标是训练出来的，没有人给它们贴标签：谁也没写下某个坐标代表什么。",
    ),
    (
        "embed.near",
        "Nearest to {token} lies {near}: the [cosine:cosine] of their angle is {cos}, and {pct} % of random pairs of tokens are less alike.",
        "离 {token} 最近的是 {near}：两者夹角的[cosine:余弦]是 {cos}。随便抽两个词元，有 {pct} % 的情形不如这一对像。",
    ),
    (
        "embed.same",
        "Nearest to {token} lies {near}, the same word in another spelling, as most first neighbours are: the [cosine:cosine] of their angle is {cos}, and {pct} % of random pairs are less alike.",
        "离 {token} 最近的是 {near}，其实是同一个词的另一种写法，大多数第一近邻都是这样：[cosine:余弦]是 {cos}。随便抽两个词元，有 {pct} % 的情形不如这一对像。",
    ),
    (
        "embed.nothing",
        "Nothing stands out: the nearest to {token} is {near}, with a [cosine:cosine] of {cos}, and only {pct} % of random pairs are less alike.",
        "没有什么突出的：离 {token} 最近的是 {near}，[cosine:余弦] {cos}，而随便抽两个词元，只有 {pct} % 的情形不如这一对像。",
    ),
    (
        "embed.means",
        "Near means: used alike in what the model was trained on. It does not mean the same meaning (opposites are near each other too), nor that one may stand for the other, nor that one coordinate is “size” or “gender”.",
        "“相近”的意思是：在训练文本里用法相似。它不等于意思相同（反义词也会靠得很近），也不等于可以互换，更不是说某个坐标就代表“大小”或“性别”。",
    ),
    ("embed.figure", "Nearest tokens by embedding", "按嵌入计算的最近词元"),
    (
        "embed.caption",
        "For some tokens of this prompt, and for the answer, the tokens with the most similar embeddings. A cosine of one is the same direction, of zero nothing in common. The last column says how unusual that is: a cosine alone says little.",
        "对这句话里的几个词元以及答案，列出嵌入最相似的词元。余弦为一表示方向相同，为零表示毫无共同。最后一列说明这有多不寻常：单看余弦说明不了多少。",
    ),
    (
        "embed.moves",
        "Context changes it: what the last token {token} becomes enters closest in direction to {before} (cosine {cb}) and leaves the last layer closest to {after} (cosine {ca}). It is no longer the word that was read but a guess at what comes. The closest is not always the first of the board: a score also counts lengths, and a cosine does not.",
        "上下文会改变它：最后一个词元 {token} 的向量进来时方向最接近 {before}（余弦 {cb}），离开最后一层时最接近 {after}（余弦 {ca}）。它已经不再是读到的那个词，而是对下一个词的猜测。方向最接近的不一定是榜首：分数还要算长度，余弦不算。",
    ),
    (
        "embed.stays",
        "Here context does not move it past its neighbour: the last token {token} enters near {before} (cosine {cb}) and leaves the last layer near {after} (cosine {ca}).",
        "在这里，上下文没有让它离开原来的近邻：最后一个词元 {token} 进来时靠近 {before}（余弦 {cb}），离开最后一层时仍靠近 {after}（余弦 {ca}）。",
    ),
    (
        "embed.closer",
        "<code>cosine = x·y ÷ (|x| |y|)</code>: for {token} and {near} it is {cos}. All embeddings share a common part; with the mean of all taken away from both it is {centered}.",
        "<code>余弦 = x·y ÷ (|x| |y|)</code>：{token} 和 {near} 的余弦是 {cos}。所有嵌入都有一个共同的部分；两边都减去全体的均值后，变成 {centered}。",
    ),
    (
        "embed.tied",
        "This model uses the same table to read and to say tokens (tied): the further the stream points along a token’s embedding, the higher is its score.",
        "这个模型读词元和说词元用的是同一张表（共享权重）：残差流越是指向某个词元的嵌入，那个词元的分数就越高。",
    ),
    (
        "embed.untied",
        "This model has another table to say tokens (untied): near in the one does not mean near in the other.",
        "这个模型说词元时用的是另一张表（不共享）：在一张表里相近，在另一张表里未必相近。",
    ),
    (
        "embed.careful",
        "A map in two dimensions would hide most coordinates, and what looks near there may be far apart. That is why this page shows numbers and no map.",
        "二维地图会丢掉绝大部分坐标，图上看着近的其实可能很远。所以这里给出的是数字，而不是地图。",
    ),
    ("position.short", "Position", "位置"),
    ("position.q", "If two words swap places, what tells the model?", "如果两个词互换位置，模型靠什么知道？"),
    (
        "position.learned",
        "To the embedding of each token the vector of its place ([position:positional encoding]) is added, one of {rows} that were learnt. If two words swap places, each is added to the other’s place vector.",
        "每个词元的嵌入都会加上它所在位置的向量，一共有 {rows} 个学出来的位置向量（[position:位置编码]）。两个词互换位置，就各自加上了对方位置的向量。",
    ),
    (
        "position.learned-qk",
        "A learnt vector for each of {rows} places is added to what attention compares (queries and keys), in every layer; the stream itself does not know places.",
        "共有 {rows} 个学出来的位置向量，在每一层加到注意力用来比较的东西（查询和键）上；残差流本身并不知道位置。",
    ),
    (
        "position.rotary",
        "What asks and what is matched in attention is turned by an angle that grows with the place ([position:rotary positions], base {theta}; {dims} of the {e} numbers of a head turn; the base says how slowly the slowest do). A match then depends on how far apart two words are.",
        "注意力里负责提问的和被匹配的向量，都会按位置转一个角度（[position:旋转位置编码]，底数 {theta}；每个头的 {e} 个数里有 {dims} 个会转；底数决定最慢的转得多慢）。于是匹配程度取决于两个词相隔多远。",
    ),
    (
        "position.alibi",
        "Each attention head takes something off for each step of distance (ALiBi): the first head {slope} per token. Far words must match better to be looked at.",
        "每个注意力头都会随距离扣分（ALiBi）：第一个头每隔一个词元扣 {slope}。远处的词要匹配得更好才会被看到。",
    ),
    (
        "position.none",
        "Nothing is added for the place. What is left is the mask: a token sees only those before it, so the first sees one, the second two; that leaks order.",
        "没有任何位置信息被加进去。剩下的只有掩码：词元只能看到它前面的，第一个看到一个，第二个看到两个；顺序就这样漏了出来。",
    ),
    (
        "position.bidirectional",
        "The mask of this model sees everything: each token looks at those before and after it.",
        "这个模型的掩码看得到一切：每个词元既看前面也看后面。",
    ),
    (
        "position.another",
        "Tried on this prompt, with {a} and {b} swapped: {token} goes from {p} to {q}, and {other} comes first, with {po}. The two boards are {kl} bits apart ([kl:KL divergence]; two equal boards are zero bits apart).",
        "在这句话上试一试，把 {a} 和 {b} 互换：{token} 从 {p} 变为 {q}，排第一的换成了 {other}（{po}）。两张榜相差 {kl} 比特（[kl:KL 散度]；完全一样就是零）。",
    ),
    (
        "position.same",
        "Tried on this prompt, with {a} and {b} swapped: {token} stays first and goes from {p} to {q}. The two boards are {kl} bits apart ([kl:KL divergence]; two equal boards are zero bits apart).",
        "在这句话上试一试，把 {a} 和 {b} 互换：{token} 仍排第一，概率从 {p} 变为 {q}。两张榜相差 {kl} 比特（[kl:KL 散度]；完全一样就是零）。",
    ),
    (
        "position.little",
        "Tried on this prompt, with {a} and {b} swapped: little changes. {token} stays first and goes from {p} to {q}; the two boards are {kl} bits apart ([kl:KL divergence]; two equal boards are zero bits apart). That does not mean that the model does not know the order, only that what comes next here hangs little on which of the two stands where.",
        "在这句话上试一试，把 {a} 和 {b} 互换：变化很小。{token} 仍排第一，概率从 {p} 变为 {q}；两张榜相差 {kl} 比特（[kl:KL 散度]；完全一样就是零）。这并不说明模型不知道顺序，只说明在这里接下来的内容与这两个词谁先谁后关系不大。",
    ),
    ("position.reads", "Swapped, it reads: {text}", "互换之后是：{text}"),
    (
        "position.unplaced",
        "With all places made equal, as if the prompt were a bag of tokens, {token} goes from {p} to {q}.",
        "如果把所有位置都弄成一样，好像这句话只是一袋词元，{token} 会从 {p} 变为 {q}。",
    ),
    ("position.run.given", "as it is", "原样"),
    ("position.run.swapped", "two swapped", "互换两个词"),
    ("position.run.unplaced", "all places equal", "位置全相同"),
    ("position.figure", "Candidates with other places", "改变位置后的候选"),
    (
        "position.caption",
        "The same candidates in each run: as it is, with two tokens swapped, and with all places made equal.",
        "同样的候选在各次运行中的概率：原样、互换两个词元、位置全部相同。",
    ),
    (
        "position.alone",
        "There is no earlier word here that a head of the first layer looks at, so none can be put further away.",
        "这里第一层的头没有看任何前面的词，所以没法把它移远。",
    ),
    (
        "position.closer",
        "The same word, further away: in head {head} of layer {layer}, {query} looks at {key} at a distance of {d}, with a score of {s}. Were that word at a distance of {far} and all else the same, the score would be {sf}.",
        "同一个词，放得更远：在第 {layer} 层的第 {head} 个头里，{query} 看向距离为 {d} 的 {key}，分数是 {s}。如果这个词的距离是 {far}，其余不变，分数会是 {sf}。",
    ),
    ("position.line", "Score of the same word at every distance", "同一个词在各个距离上的分数"),
    (
        "position.line.caption",
        "Distance grows to the right, the score upwards; the dot is where the word stands. The score need not fall with distance: that depends on what asks and what is matched.",
        "向右距离增大，向上分数增大；圆点是这个词实际所在的位置。分数不一定随距离下降：这取决于谁在问、问的是谁。",
    ),
    (
        "position.careful",
        "A model does not read from left to right as you do: it gets all tokens at once, and knows order by what is described here and, where a token cannot see what comes after it, by that. In later layers what is known of places is mixed into everything else.",
        "模型不像你那样从左读到右：它同时拿到所有词元，顺序主要靠这里说的办法知道；如果词元看不到后面的内容，这一点也会透露顺序。到了后面的层，位置信息已经和其他内容混在一起了。",
    ),
];
