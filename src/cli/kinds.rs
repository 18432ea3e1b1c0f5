//! What a command has by the type of its analysis: figures, a scale of them, a page, shards, a folder that it needs.

use crate::session::{Analysis, Results, Tables};

/// Whether the figures of its tables have a scale.
pub(super) fn scaled<A: Analysis>() -> bool {
    A::Tables::ALL.iter().filter_map(|table| table.drawable()).any(|table| table.scaled)
}

/// Whether figures of its tables are files.
pub(super) fn drawn<A: Analysis>() -> bool {
    let folder = matches!(A::RESULTS, Results::Folder | Results::FolderIfNamed);
    A::DRAWS && folder && A::Tables::ALL.iter().any(|table| table.drawable().is_some())
}

/// Whether it makes something that can be opened.
pub(super) fn opens<A: Analysis>() -> bool {
    drawn::<A>() || A::PAGE.is_some()
}

/// Whether several processes can share its work.
pub(super) fn shared<A: Analysis>() -> bool {
    A::JOINS.is_some() || A::PIECES || A::RESULTS == Results::Dataset
}

/// Why results need a folder, where they do.
pub(super) fn unwritten<A: Analysis>(in_parts: bool) -> Option<String> {
    match A::RESULTS {
        Results::Dataset => Some("a data set needs a folder".to_owned()),
        _ if in_parts => Some("what is done in parts is kept in a folder".to_owned()),
        // Its results are a file, whatever tables there are beside it.
        _ if A::PAGE.is_some() || A::Tables::ALL.is_empty() => {
            Some(format!("{} writes {}, which needs a folder", A::NAME, A::FILES.join(", ")))
        }
        _ => None,
    }
}

/// What its tables and files are called.
pub(super) fn names<A: Analysis>() -> Vec<&'static str> {
    A::Tables::ALL.iter().map(|table| table.info().name).chain(A::FILES.iter().copied()).collect()
}
