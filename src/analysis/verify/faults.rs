//! Which fault each law finds: models and engines that are broken on purpose, so that no law can pass whatever happens.

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::{BTreeSet, VecDeque};
    use std::path::Path;

    use candle_core::{Device, Tensor};

    use super::super::edits::matters;
    use super::super::subject::Subject;
    use super::super::{LAWS, own_prompts};
    use crate::arch::spec::Mask;
    use crate::error::Result;
    use crate::hook::{Cache, Hook, HookPoint, Site};
    use crate::model::{Model, Weights};
    use crate::ops::rows::Rows;

    /// How something is broken.
    enum Broken {
        /// The weights are not what the spec says.
        Weights(fn(&mut Weights) -> Result<()>),
        /// What is recorded at this site of block 1 is not what the run goes on with.
        Recorded(Site, fn(&Tensor) -> Result<Tensor>),
        /// Recording changes this site of block 1.
        Recording(Site, fn(&Tensor) -> Result<Tensor>),
        /// Edits leave the value as it was.
        Edits,
    }

    fn nudged(x: &Tensor) -> Result<Tensor> {
        Ok((x + 0.01)?)
    }

    /// Each fault with the laws that must find it; it may break others too.
    const FAULTS: &[(&str, Broken, &[&str])] = &[
        ("a bias is not a number", Broken::Weights(not_a_number), &["all logits are finite"]),
        ("looking adds to the stream", Broken::Recording(Site::AttnOut, nudged), &["recording changes nothing"]),
        (
            "another stream is recorded than goes on",
            Broken::Recorded(Site::ResidPost, nudged),
            &[
                "writing back what was read changes nothing",
                "patching a run with its own values changes nothing",
                "the stream is the sum of its writes",
                "the lens at the last resid_post is the model",
                "packed with others is alone",
                "the fused path is the plain path",
            ],
        ),
        ("edits do nothing", Broken::Edits, &["an edit that must matter does"]),
        (
            "another attn_out is recorded than is added",
            Broken::Recorded(Site::AttnOut, nudged),
            &["the stream is the sum of its writes", "attn_out is the sum of what the heads write"],
        ),
        (
            "other neurons are recorded than write",
            Broken::Recorded(Site::MlpPost, nudged),
            &["mlp_out is what the neurons write"],
        ),
        (
            "another z is recorded than is read",
            Broken::Recorded(Site::Z, nudged),
            &["z is the pattern times the values"],
        ),
        (
            "patterns are one percent too large",
            Broken::Recorded(Site::Pattern, |x| Ok((x * 1.01)?)),
            &["pattern rows sum to 1"],
        ),
        (
            "queries see the future",
            Broken::Weights(|weights| {
                weights.blocks[1].scoring.mask = Mask::Bidirectional;
                Ok(())
            }),
            &[
                "patterns are 0 where the mask hides the key",
                "a token changes nothing before it",
                "one token at a time is all at once",
            ],
        ),
    ];

    fn not_a_number(weights: &mut Weights) -> Result<()> {
        let Some(bias) = weights.blocks[1].o.bias.as_mut() else { panic!("this model has biases") };
        let mut values = bias.to_vec1::<f32>()?;
        values[3] = f32::NAN;
        *bias = Tensor::new(values, &Device::Cpu)?;
        Ok(())
    }

    /// Changes a value and keeps what it was.
    struct Lie<'a>(HookPoint, fn(&Tensor) -> Result<Tensor>, &'a RefCell<VecDeque<Tensor>>);

    impl Hook for Lie<'_> {
        fn wants(&self, point: HookPoint) -> bool {
            point == self.0
        }
        fn on(&mut self, _: HookPoint, _: &Rows, x: Tensor) -> Result<Tensor> {
            let lie = (self.1)(&x)?;
            self.2.borrow_mut().push_back(x);
            Ok(lie)
        }
    }

    /// Puts back what a [`Lie`] kept.
    struct Truth<'a>(HookPoint, &'a RefCell<VecDeque<Tensor>>);

    impl Hook for Truth<'_> {
        fn wants(&self, point: HookPoint) -> bool {
            point == self.0
        }
        fn on(&mut self, _: HookPoint, _: &Rows, x: Tensor) -> Result<Tensor> {
            Ok(self.1.borrow_mut().pop_front().unwrap_or(x))
        }
    }

    /// Gives back what it read.
    struct Nothing;

    impl Hook for Nothing {
        fn wants(&self, _: HookPoint) -> bool {
            true
        }
        fn on(&mut self, _: HookPoint, _: &Rows, x: Tensor) -> Result<Tensor> {
            Ok(x)
        }
    }

    /// The laws that fail where this is broken.
    fn failing(model: &Model, broken: &Broken) -> Result<Vec<&'static str>> {
        let model = match broken {
            Broken::Weights(change) => {
                let mut weights = model.weights().clone();
                change(&mut weights)?;
                Model::new(model.spec().clone(), weights)?
            }
            _ => model.clone(),
        };
        let prompts = own_prompts(model.spec());
        let mut subject = Subject::new(&model, &prompts)?;
        if let Broken::Recorded(site, change) | Broken::Recording(site, change) = broken {
            let (point, kept, mut cache) =
                (HookPoint::block(1, *site), RefCell::default(), Cache::new(model.spec(), "*")?);
            let (mut lie, mut truth) = (Lie(point, *change, &kept), Truth(point, &kept));
            subject.recorded_logits = match broken {
                Broken::Recorded(..) => model.forward(&subject.batch, &mut [&mut lie, &mut cache, &mut truth])?,
                _ => model.forward(&subject.batch, &mut [&mut lie, &mut cache])?,
            };
            subject.cache = cache;
        }
        let mut failing = vec![];
        for (law, check) in LAWS {
            let finding = match broken {
                Broken::Edits if *law == "an edit that must matter does" => {
                    matters(&subject, |_| Ok(Box::new(Nothing)))?
                }
                _ => check(&subject)?,
            };
            if finding.row(law).verdict == "failed" {
                failing.push(*law);
            }
        }
        Ok(failing)
    }

    /// Invariant: Every law of `verify` finds at least one model or engine that is broken on purpose.
    #[test]
    fn every_law_finds_a_fault() -> Result<()> {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpt2");
        let model = Model::load(&fixture)?;
        assert_eq!(failing(&model, &Broken::Weights(|_| Ok(())))?, [""; 0], "nothing is broken");
        let mut found = BTreeSet::new();
        for (fault, broken, laws) in FAULTS {
            let failing = failing(&model, broken)?;
            for law in *laws {
                assert!(failing.contains(law), "{fault}: \"{law}\" does not find it, and these do: {failing:?}");
            }
            found.extend(laws.iter().copied());
        }
        let laws: BTreeSet<&str> = LAWS.iter().map(|(law, _)| *law).collect();
        assert_eq!(found, laws, "each law needs a fault that it finds");
        Ok(())
    }
}
