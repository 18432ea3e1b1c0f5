//! Means of estimates as they are seen: one figure with a panel for each site, and the strongest in words.

use std::io::Write;
use std::sync::Arc;

use crate::analysis::AttributionMeanRow;
use crate::analysis::patch::view::mark::{Mark, Marked, Names, OTHERS, marks_of};
use crate::analysis::patch::view::method::Method;
use crate::analysis::patch::view::scale::Scales;
use crate::analysis::patch::view::sweep::{DrawnSweep, errors_in_words};
use crate::analysis::patch::view::words::place;
use crate::analysis::patch::view::{Named, of_unit};
use crate::error::Result;
use crate::hook::site::SITES;
use crate::number::Locale;
use crate::table::{MeasuredMean, OutcomeMean, Provenance, Row, Rows, visible_prose};
use crate::view::kind::{Body, Cell, Panel, Table, TableRow, View};
use crate::view::viewed::{Shown, Told};
use crate::view::{Emit, Options, Seen, no_rows, terminal};

/// So many of the strongest parts of the model are said in words, all positions together, and so many of single positions.
const STRONGEST: (usize, usize) = (10, 5);

impl Marked for AttributionMeanRow {
    fn unit(&self) -> (u32, Option<u32>) {
        (0, None)
    }

    fn mark(&self) -> Mark {
        let to_clean = self.direction == "noise";
        let base = if to_clean { self.clean } else { self.corrupt };
        let method = Method {
            kind: self.kind.clone(),
            to_clean,
            has_corrupt: true,
            window: 1,
            at_once: None,
            noise: None,
            estimated: true,
            path: false,
        };
        let patched = base + self.estimate;
        let measured = MeasuredMean {
            metric: self.metric.clone(),
            pairs: self.pairs,
            clean: self.clean,
            corrupt: Some(self.corrupt),
            patched: Some(patched),
            patched_se: self.estimate_se,
            change: Some(patched - self.clean),
            change_se: self.estimate_se,
            recovered: self.estimated_recovered,
            recovered_se: self.estimated_recovered_se,
        };
        // To first order, the same value and a metric without a slope there are one.
        let changed = if self.estimate == 0.0 && self.strength == 0.0 { 0 } else { self.pairs };
        let outcome = OutcomeMean { changed, reached: self.pairs, not_finite: 0 };
        // What is small beside the metric is not what is left of a difference in f32.
        let change = f64::from(base) + f64::from(self.estimate) - f64::from(self.clean);
        Mark { change: Some(change), ..Mark::mean(1, self.place.clone(), &measured, &outcome, method) }
    }
}

impl Seen for AttributionMeanRow {
    const SCALED: bool = true;

    /// The finding and the strongest, without the pictures.
    fn words(rows: &mut dyn Rows<Self>, _: &Shown, told: &Told<'_>, w: &mut dyn Write) -> Result<()> {
        let mut view = Drawn::of(rows, &Options::default())?.view(told.provenance);
        view.panels.clear();
        Ok(w.write_all(terminal::text(&view, terminal::width()).as_bytes())?)
    }

    /// One view: a panel for each site. Of what has heads or neurons, the sums over positions; of other values each position, where
    /// positions of different pairs are the same.
    fn views(rows: &mut dyn Rows<Self>, from: &Provenance, how: &Options, emit: &mut Emit<'_>) -> Result<()> {
        emit(Drawn::of(rows, how)?.view(from))
    }
}

/// The means of a table as marks, site by site.
struct Drawn {
    sites: Vec<OfSite>,
    scales: Scales,
    locale: Locale,
}

/// The means of one site.
struct OfSite {
    name: String,
    /// Of all positions together.
    sums: Vec<Mark>,
    /// Of single positions.
    places: Vec<Mark>,
}

impl OfSite {
    /// What is drawn of it, and how that is called.
    fn drawn(&self) -> (&[Mark], &'static str) {
        let units = self.places.iter().any(|m| m.head.is_some() || m.kv_head.is_some() || m.neuron.is_some());
        match self.sums.is_empty() || !units && self.alike() {
            true => (&self.places, ""),
            false => (&self.sums, ", all positions together"),
        }
    }

    /// Whether positions of different pairs are the same: they go by names, or all prompts are as long. At a number, prompts of unlike
    /// lengths have other words.
    fn alike(&self) -> bool {
        let pairs = |m: &Mark| m.mean.map(|mean| mean.pairs);
        let Some(first) = self.places.first() else { return true };
        first.position_name.is_some() || self.places.iter().all(|m| pairs(m) == pairs(first))
    }

    /// Whether it is the stream, which all parts write to: whoever patches all of it has the other run.
    fn is_stream(&self) -> bool {
        SITES.iter().any(|info| info.site.short() == self.name && super::is_stream(info.site))
    }
}

impl Drawn {
    fn of(rows: &mut dyn Rows<AttributionMeanRow>, how: &Options) -> Result<Self> {
        let (n, mut names) = (rows.len(), Names::default());
        rows.rows(0..n, &mut |row| {
            names.add(&row.mark());
            Ok(())
        })?;
        let mut sites: Vec<OfSite> = vec![];
        for mark in marks_of(rows, (0, None), 0..n, &names.in_order())? {
            let at = sites.iter().position(|of| of.name == mark.place.site).unwrap_or_else(|| {
                sites.push(OfSite { name: mark.place.site.clone(), sums: vec![], places: vec![] });
                sites.len() - 1
            });
            let everywhere = mark.pos.is_none() && mark.query_pos.is_none() && mark.position_name.is_none();
            if everywhere { &mut sites[at].sums } else { &mut sites[at].places }.push(mark);
        }
        if sites.is_empty() {
            return Err(no_rows::<AttributionMeanRow>());
        }
        let mut scales = Scales::new(how.scale);
        sites.iter().flat_map(|of| of.drawn().0).for_each(|mark| scales.add(mark));
        Ok(Self { sites, scales, locale: how.locale })
    }

    fn view(&self, provenance: &Provenance) -> View {
        let from = Arc::new(provenance.clone());
        let named = Named::of([(0, None)].into_iter());
        let name = AttributionMeanRow::TABLE.name;
        let (mut panels, mut legend, mut first) = (vec![], vec![], None);
        for of in &self.sites {
            let (marks, which) = of.drawn();
            let views = of_unit(name, marks, &from, &self.scales, named, self.locale);
            let Some(view) = views.into_iter().next() else { continue };
            let heading = format!("{}{which}", visible_prose(&of.name));
            panels.extend(view.panels.into_iter().map(|panel| Panel { heading: heading.clone(), ..panel }));
            for sentence in view.legend {
                if !legend.contains(&sentence) {
                    legend.push(sentence);
                }
            }
            first.get_or_insert(view.subtitle);
        }
        let sweeps = self.sites.iter().flat_map(|of| DrawnSweep::all(of.drawn().0, &self.scales, self.locale));
        let sweeps: Vec<_> = sweeps.collect();
        let (together, single) = (self.strongest(true), self.strongest(false));
        let finding = match (together.first(), single.first()) {
            (Some(strongest), _) => format!("Strongest, all positions together: {}, {}.", strongest.0, strongest.2),
            (None, Some(strongest)) => format!("Strongest: {}, {}.", strongest.0, strongest.2),
            (None, None) => "To first order, no value makes a difference.".to_owned(),
        };
        // Of all panels together.
        let others = finding.contains(OTHERS) || sweeps.iter().any(DrawnSweep::has_others);
        let meaning = sweeps.first().map(|sweep| sweep.meaning_beside(others));
        let errors = errors_in_words(sweeps.iter().flat_map(DrawnSweep::errors).collect(), self.locale);
        let metric = self.sites.iter().flat_map(|of| of.sums.iter().chain(&of.places)).next();
        let metric = metric.map_or(String::new(), |mark| visible_prose(&mark.metric));
        let tables = [
            ("the strongest means, all positions together", together, STRONGEST.0),
            ("the strongest means of single positions", single, STRONGEST.1),
        ];
        let more = tables.into_iter().filter(|(_, found, _)| !found.is_empty()).map(|(heading, found, most)| {
            let row = |(label, estimate, effect, _): &Said| TableRow {
                depth: 0,
                label: label.clone(),
                cells: vec![Cell::said(estimate.clone()), Cell::said(effect.clone())],
            };
            let columns = vec!["value".to_owned(), format!("estimated change of {metric}"), "effect".to_owned()];
            let table = Table { columns, rows: found.iter().take(most).map(row).collect(), colours: None };
            Panel { heading: heading.to_owned(), body: Body::Table(table) }
        });
        View {
            name: name.to_owned(),
            title: "Attribution: means over pairs".to_owned(),
            subtitle: first.unwrap_or_default(),
            caption: [Some(finding), meaning, errors].into_iter().flatten().collect(),
            legend,
            panels,
            more: more.collect(),
            provenance: from.clone(),
            locale: self.locale,
        }
    }

    /// The strongest means in words, of all positions together or of single ones, where these are the same in all pairs; of the stream
    /// only where there is nothing else.
    fn strongest(&self, together: bool) -> Vec<Said> {
        let others = self.sites.iter().any(|of| !of.is_stream());
        let mut found: Vec<Said> = vec![];
        for of in self.sites.iter().filter(|of| !(others && of.is_stream())) {
            let marks = match together {
                true => &of.sums[..],
                false if of.alike() || of.sums.is_empty() => &of.places,
                false => continue,
            };
            for sweep in DrawnSweep::all(marks, &self.scales, self.locale) {
                for mark in sweep.rows.iter().filter(|mark| !sweep.nothing_changed(mark)) {
                    let base = if mark.method.to_clean { Some(mark.clean) } else { mark.corrupt };
                    let Some((change, base)) = mark.change.zip(base) else { continue };
                    let estimate = change + f64::from(mark.clean) - f64::from(base);
                    if !estimate.is_finite() {
                        continue;
                    }
                    let written = self.locale.signed(estimate);
                    let error = mark.mean.and_then(|mean| mean.change_se);
                    let error = error.map(|se| format!(" ± {}", self.locale.error(&written, f64::from(se))));
                    let label = format!("{} {}", visible_prose(&of.name), place(mark));
                    let written = written + &error.unwrap_or_default();
                    found.push((label, written, sweep.effect_in_words(mark), estimate.abs()));
                }
            }
        }
        // Stable: of equals the first stay.
        found.sort_by(|a, b| b.3.total_cmp(&a.3));
        found.truncate(STRONGEST.0.max(STRONGEST.1));
        found
    }
}

/// A mean in words: what it is of, its size, its effect; and what it is sorted by.
type Said = (String, String, String, f64);
