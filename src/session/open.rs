//! A model with everything that belongs to it: files, tokenizer, and what provenance says of it.

use super::plan::{Plan, available};
use crate::error::{Error, Result, Said};
use crate::model::{Footprint, Model, Placement, Processing, WeightBytes};
use crate::table::Provenance;
use crate::text::ids::ids_of;
use crate::text::tokenizer::token_of_id;
use crate::text::{
    Around, Bos, Fetching, Hub, ModelSource, Prompt, PromptEntry, PromptInput, Tokenizer, Want, build_prompts,
};

/// A loaded model and where it came from.
pub struct Session {
    /// What it was opened as.
    pub name: String,
    /// Its files.
    pub source: ModelSource,
    /// The model.
    pub model: Model,
    /// Its tokenizer, where it has one.
    pub tokenizer: Option<Tokenizer>,
    /// Hash over its weight files.
    pub weights_hash: String,
    /// How it was asked to be loaded.
    pub placement: Placement,
    /// What its weights take.
    pub footprint: Footprint,
    /// Hash over its configuration and the files of its tokenizer.
    pub files_hash: String,
    /// Memory for activations and logits, in bytes.
    pub memory_bytes: usize,
}

impl Session {
    /// Finds and loads the model called `name`: `demo`, which is built in, a folder, or a Hugging Face id.
    ///
    /// # Errors
    /// As [`Session::find`] and [`Session::from_source`].
    pub fn open(name: &str) -> Result<Self> {
        let opened = Self::from_source(Self::find(name, &[], &Hub::from_env(), &())?, &[])?;
        Ok(Self { name: name.to_owned(), ..opened })
    }

    /// Finds the model called `name`, fetching from `hub` what is not there. Its configuration comes first, so that nothing
    /// large is fetched of a model that cannot be run; unknown keys of it that are in `accept` are let through.
    ///
    /// # Errors
    /// As [`ModelSource::resolve_with`] and [`Model::read_spec`].
    pub fn find(name: &str, accept: &[String], hub: &Hub, told: &dyn Fetching) -> Result<ModelSource> {
        Self::find_only(name, Want::All, accept, hub, told)
    }

    /// As [`Session::find`], but of a model on the Hub only the files that `want` says.
    ///
    /// # Errors
    /// As there.
    pub fn find_only(name: &str, want: Want, accept: &[String], hub: &Hub, told: &dyn Fetching) -> Result<ModelSource> {
        let find = |want| Ok(ModelSource::resolve_with(name, want, hub, told)?.accepting(accept));
        let source = find(Want::Config)?;
        if source.revision.is_none() {
            return Ok(source);
        }
        Model::read_spec(&source)?;
        find(want)
    }

    /// Loads a model whose files were found already, and processes its weights in each of these ways.
    ///
    /// # Errors
    /// As [`Session::placed`].
    pub fn from_source(source: ModelSource, process: &[Processing]) -> Result<Self> {
        Self::placed(source, process, Placement::default())
    }

    /// Loads a model whose files were found already, processes its weights in each of these ways, and puts it where
    /// `placement` says.
    ///
    /// # Errors
    /// As [`Model::place`], [`Model::processed`] and [`Tokenizer::from_files`]; when what is copied does not fit into memory.
    pub fn placed(source: ModelSource, process: &[Processing], placement: Placement) -> Result<Self> {
        let tokenizer = Tokenizer::from_files(&source.files)?;
        // What is wrong with the configuration is said first.
        Model::read_spec(&source)?;
        let files = WeightBytes::open(&source)?;
        let footprint = Model::footprint(&source, &files, &placement, !process.is_empty())?;
        Plan::of_weights(footprint).check(&placement, available())?;
        // Both read every byte, and what one has read is in memory for the other.
        let (model, weights_hash) = rayon::join(|| Model::place(&source, &files, &placement), || hash(&files));
        let model = model?.processed(process)?;
        let files_hash = hash_of_files(&source)?;
        let name = source.id.clone();
        Ok(Self {
            name,
            source,
            model,
            tokenizer,
            weights_hash,
            placement,
            footprint,
            files_hash,
            memory_bytes: MEMORY,
        })
    }

    /// Turns prompts into tokens and checks them against the model. What is put around texts is a [`Bos`], or a
    /// [`Chat`](crate::text::Chat) by the tokenizer's own template.
    ///
    /// # Errors
    /// As [`build_prompts`].
    pub fn prompts(&self, entries: &[PromptEntry], around: impl Into<Around>) -> Result<Vec<Prompt>> {
        let text = |entry: &&PromptEntry| matches!(&entry.input, PromptInput::Text(text) if !text.is_empty());
        if let (None, Some(index)) = (&self.tokenizer, entries.iter().position(|entry| text(&entry))) {
            let (why, id) =
                (self.source.no_tokenizer(), entries[index].id.clone().unwrap_or_else(|| index.to_string()));
            let said = Error::bad_input(format!("prompt \"{id}\" is text, but {}", why.message()));
            return Err(said.hint(why.remedy().clone()));
        }
        let spec = self.model.spec();
        build_prompts(entries, self.tokenizer.as_ref(), spec.d_vocab, spec.n_ctx, around)
    }

    /// The prompt with this text.
    ///
    /// # Errors
    /// As [`build_prompts`].
    pub fn prompt(&self, text: &str) -> Result<Prompt> {
        let prompts = self.prompts(&[PromptEntry::text(text)], Bos::AsTokenizer)?;
        prompts.into_iter().next().ok_or_else(|| Error::compute("a text has made no prompt").fault())
    }

    /// What a token spells.
    pub fn spell(&self, id: u32) -> String {
        self.tokenizer.as_ref().map_or_else(|| format!("#{id}"), |t| t.token_text(id))
    }

    /// What tokens spell, one after another: `#1,2` where they spell no text.
    pub fn spelled(&self, ids: &[u32]) -> String {
        let text = self.tokenizer.as_ref().and_then(|tokenizer| tokenizer.decode(ids).ok());
        let whole = text.filter(|text| !text.contains(char::REPLACEMENT_CHARACTER));
        whole.unwrap_or_else(|| format!("#{}", ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")))
    }

    /// The one token that `text` means.
    ///
    /// # Errors
    /// When it is several (showing them), or outside what the model can say.
    pub fn target(&self, text: &str) -> Result<u32> {
        let n = self.model.spec().unembedding.d_vocab_out;
        if let Some(id) = token_of_id(text, n) {
            return id;
        }
        let Some(tokenizer) = &self.tokenizer else {
            return Err(Error::bad_input(format!("the model has no tokenizer, so `{text}` is not a token"))
                .hint("give a token id, such as `#17`"));
        };
        let id = tokenizer.single_token(text)?;
        self.model.can_say(&[id])?;
        Ok(id)
    }

    /// The tokens of an answer: one as [`Session::target`] reads it, or several.
    ///
    /// # Errors
    /// As there, for what is not several tokens that this model can say either.
    pub fn answer(&self, text: &str) -> Result<Vec<u32>> {
        if let Some(ids) = ids_of(text).and_then(Result::ok).filter(|ids| ids.len() > 1) {
            return self.model.can_say(&ids).map(|()| ids);
        }
        self.target(text).map(|id| vec![id]).or_else(|e| match self.continuation(text) {
            Ok(several) if several.len() > 1 => Ok(several),
            _ => Err(e),
        })
    }

    /// The tokens of these answers, and these foils.
    ///
    /// # Errors
    /// As [`Session::answer`] and [`Session::target`].
    pub fn answers_and_foils<T: AsRef<str>>(&self, [answers, foils]: [&[T]; 2]) -> Result<(Vec<Vec<u32>>, Vec<u32>)> {
        let answers = answers.iter().map(|text| self.answer(text.as_ref())).collect::<Result<_>>()?;
        Ok((answers, foils.iter().map(|text| self.target(text.as_ref())).collect::<Result<_>>()?))
    }

    /// The tokens of a text that may come next, of any length.
    ///
    /// # Errors
    /// As [`Tokenizer::continuation`]; when a token is outside what the model can say, or there is no tokenizer.
    pub fn continuation(&self, text: &str) -> Result<Vec<u32>> {
        let n = self.model.spec().unembedding.d_vocab_out;
        let Some(tokenizer) = self.tokenizer.as_ref().filter(|_| token_of_id(text, n).is_none()) else {
            return self.target(text).map(|id| vec![id]);
        };
        let ids = tokenizer.continuation(text)?;
        self.model.can_say(&ids)?;
        Ok(ids)
    }

    /// What whoever reads the results should know of the model's files: what is not used, and what was done where versions of
    /// transformers disagree. Whole sentences.
    pub fn notes(&self) -> Vec<Said> {
        let tokenizer = self.tokenizer.as_ref().and_then(|t| t.note()).cloned();
        self.source.unused().into_iter().map(Said::from).chain(tokenizer).collect()
    }

    /// What every file says of the model. Table and version are the writer's.
    pub fn provenance(&self, command: Vec<String>) -> Provenance {
        Provenance {
            model: self.source.id.clone(),
            revision: self.source.revision.clone(),
            weights_hash: self.weights_hash.clone(),
            spec: serde_json::to_value(self.model.spec()).unwrap_or_default(),
            accepted_config: self.source.accepted.iter().cloned().collect(),
            dtype: self.model.numbers(),
            device: format!("{:?}", self.model.device().location()).to_lowercase(),
            instructions: crate::model::instructions().into(),
            command,
            complete: true,
            ..Provenance::default()
        }
    }
}

/// Memory for activations and logits, where nobody says how much.
pub(super) const MEMORY: usize = 512_000_000;

/// BLAKE3 over the configuration and what a tokenizer is read from, with their names.
pub(super) fn hash_of_files(source: &ModelSource) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for name in source.files.names() {
        let stem = name.rsplit_once('.').map_or(&*name, |(stem, _)| stem);
        let decides = [
            "config", "generation_config", "tokenizer", "tokenizer_config", "special_tokens_map", "added_tokens",
            "vocab", "merges", "chat_template",
        ];
        if let (true, Some(bytes)) = (decides.contains(&stem), source.files.read(&name)?) {
            hasher.update(name.as_bytes()).update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// BLAKE3 over the files' bytes, one after the other.
pub(super) fn hash(files: &WeightBytes) -> String {
    let mut hasher = blake3::Hasher::new();
    for bytes in files.iter() {
        hasher.update_rayon(bytes);
    }
    format!("blake3:{}", hasher.finalize().to_hex())
}
