//! What a row type is: a struct whose columns carry their meaning and unit, declared once by [`table!`].

use super::provenance::Provenance;
use serde::{Serialize, de::DeserializeOwned};

/// The unit of columns that hold the text of a token: terminals and charts make its spaces and controls visible.
pub const TOKEN: &str = "token";

macro_rules! kinds {
    ($($kind:ident($value:ty): $name:literal, $meaning:literal;)+) => {
        /// The type of a column's values.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ColumnType {
            $(#[doc = $meaning] $kind,)+
        }

        impl ColumnType {
            /// The name that documentation and errors use.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }
        }

        /// One value of a row, borrowed.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Cell<'a> {
            /// No value.
            Null,
            $(#[doc = $meaning] $kind($value),)+
        }
    };
}
kinds! {
    U32(u32): "u32", "Unsigned, 32 bits.";
    U64(u64): "u64", "Unsigned, 64 bits.";
    I64(i64): "i64", "Signed, 64 bits.";
    F32(f32): "f32", "Floating point, 32 bits.";
    F64(f64): "f64", "Floating point, 64 bits.";
    Bool(bool): "bool", "True or false.";
    Str(&'a str): "string", "UTF-8 text.";
}

/// What a column means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnInfo {
    /// Its name, in the file and in the struct.
    pub name: &'static str,
    /// The type of its values.
    pub kind: ColumnType,
    /// Whether a value may be missing.
    pub nullable: bool,
    /// What its values are counted in (`bits`, `token`, `vocabulary id`, ...); empty for plain names and flags.
    pub unit: &'static str,
    /// One phrase.
    pub meaning: &'static str,
    /// The first version of the table that has it.
    pub since: u32,
}

/// What a table means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableInfo {
    /// Its name, as written in the file.
    pub name: &'static str,
    /// Raised whenever a column changes its name, type or meaning.
    pub version: u32,
    /// A paragraph: what one row says, and how it is computed.
    pub about: &'static str,
    /// The columns, in order.
    pub columns: &'static [ColumnInfo],
    /// The columns that say which row a row is, where the declaration names them.
    pub keyed_by: &'static [&'static str],
}

impl TableInfo {
    /// The columns that say which row a row is: those that the declaration names, else the first ones, as far as they are coordinates.
    /// Keys come first in every table: indices, sites, hooks, ranks and names, among which tokens are labels; the first column of
    /// another kind ends them.
    pub fn keys(&self) -> Vec<&'static ColumnInfo> {
        let named = self.keyed_by.iter().filter_map(|name| self.columns.iter().find(|column| column.name == *name));
        let is_label = |column: &&ColumnInfo| matches!(column.unit, TOKEN | "vocabulary id");
        let is_key = |column: &&ColumnInfo| match column.unit {
            "index" | "site" | "hook name" | "rank" => !matches!(column.kind, ColumnType::F32 | ColumnType::F64),
            "" => column.kind == ColumnType::Str,
            _ => false,
        };
        match self.keyed_by {
            [] => self.columns.iter().filter(|column| !is_label(column)).take_while(is_key).collect(),
            _ => named.collect(),
        }
    }
}

/// Columns that belong together: a row of a table, or a part that several tables share. Implemented by [`table!`] and [`part!`],
/// never by hand.
///
/// [`part!`]: crate::part!
pub trait Part: Clone + Serialize + DeserializeOwned {
    /// The columns, in order.
    const COLUMNS: &'static [ColumnInfo];

    /// Gives each value to `f`, in the order of the columns.
    fn visit<'a>(&'a self, f: &mut dyn FnMut(Cell<'a>));

    /// Makes it from values in the order of the columns; `None` if one has another type than its column.
    fn build<'a>(next: &mut dyn FnMut() -> Cell<'a>) -> Option<Self>;
}

/// A row of a documented table.
pub trait Row: Part {
    /// Name, version and columns of the table.
    const TABLE: &'static TableInfo;

    /// Fills in what an older version of the table, made as `how` says, does not have: until then those columns are null,
    /// false, 0 or empty.
    fn upgrade(&mut self, how: &Provenance);

    /// The values, in the order of the columns.
    fn cells(&self) -> Vec<Cell<'_>> {
        let mut cells = Vec::with_capacity(Self::TABLE.columns.len());
        self.visit(&mut |cell| cells.push(cell));
        cells
    }
}

/// A Rust type that can be a column.
pub trait Field: Sized {
    /// The type in the file.
    const TYPE: ColumnType;
    /// Whether a value may be missing.
    const NULLABLE: bool = false;
    /// The value as a cell.
    fn to_cell(&self) -> Cell<'_>;
    /// The value of a cell; `None` if it is of another type.
    fn from_cell(cell: Cell<'_>) -> Option<Self>;
}

macro_rules! field {
    ($($type:ty => $kind:ident),*) => {$(
        impl Field for $type {
            const TYPE: ColumnType = ColumnType::$kind;
            fn to_cell(&self) -> Cell<'_> {
                Cell::$kind(*self)
            }
            fn from_cell(cell: Cell<'_>) -> Option<Self> {
                if let Cell::$kind(x) = cell { Some(x) } else { None }
            }
        }
    )*};
}
field!(u32 => U32, u64 => U64, i64 => I64, f32 => F32, f64 => F64, bool => Bool);

impl Field for String {
    const TYPE: ColumnType = ColumnType::Str;
    fn to_cell(&self) -> Cell<'_> {
        Cell::Str(self)
    }
    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        if let Cell::Str(text) = cell { Some(text.to_owned()) } else { None }
    }
}

impl<T: Field> Field for Option<T> {
    const TYPE: ColumnType = T::TYPE;
    const NULLABLE: bool = true;
    fn to_cell(&self) -> Cell<'_> {
        self.as_ref().map_or(Cell::Null, T::to_cell)
    }
    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        match cell {
            Cell::Null => Some(None),
            other => T::from_cell(other).map(Some),
        }
    }
}

/// The version that a column says it is of; the first, where it says none.
#[doc(hidden)]
pub const fn since(said: &[u32]) -> u32 {
    match said {
        [version, ..] => *version,
        [] => 1,
    }
}

/// How many columns these are.
#[doc(hidden)]
pub const fn count(pieces: &[&[ColumnInfo]]) -> usize {
    match pieces {
        [first, rest @ ..] => first.len() + count(rest),
        [] => 0,
    }
}

/// These columns, one after another.
#[doc(hidden)]
pub const fn join<const N: usize>(pieces: &[&[ColumnInfo]]) -> [ColumnInfo; N] {
    let mut all =
        [ColumnInfo { name: "", kind: ColumnType::Bool, nullable: false, unit: "", meaning: "", since: 1 }; N];
    let (mut piece, mut at, mut n) = (0, 0, 0);
    while piece < pieces.len() {
        if at == pieces[piece].len() {
            (piece, at) = (piece + 1, 0);
        } else {
            all[n] = pieces[piece][at];
            (at, n) = (at + 1, n + 1);
        }
    }
    all
}

/// Declares columns that several tables share: `Name: column: type, "unit", "meaning"; ...`, as in [`table!`].
#[macro_export]
macro_rules! part {
    ($(#[$attr:meta])* $name:ident:
     $($(.. $part:ident: $shared:ident)?
       $($column:ident: $type:ty, $unit:expr, $meaning:expr $(, since $since:literal)?)?;)+) => {
        $(#[$attr])*
        #[derive(Clone, Debug, PartialEq, ::serde::Serialize, ::serde::Deserialize)]
        pub struct $name {
            $($(#[doc = $meaning] pub $column: $type,)?
              $(#[doc = concat!("The columns of [`", stringify!($shared), "`].")] #[serde(flatten)] pub $part: $shared,)?)+
        }

        impl $crate::table::Part for $name {
            const COLUMNS: &'static [$crate::table::ColumnInfo] = {
                const PIECES: &[&[$crate::table::ColumnInfo]] = &[$(
                    $(&[$crate::table::ColumnInfo {
                        name: stringify!($column),
                        kind: <$type as $crate::table::Field>::TYPE,
                        nullable: <$type as $crate::table::Field>::NULLABLE,
                        unit: $unit,
                        meaning: $meaning,
                        since: $crate::table::row::since(&[$($since)?]),
                    }],)?
                    $(<$shared as $crate::table::Part>::COLUMNS,)?
                )+];
                &$crate::table::row::join::<{ $crate::table::row::count(PIECES) }>(PIECES)
            };

            fn visit<'a>(&'a self, f: &mut dyn FnMut($crate::table::Cell<'a>)) {
                $($(f($crate::table::Field::to_cell(&self.$column));)?
                  $($crate::table::Part::visit(&self.$part, f);)?)+
            }

            fn build<'a>(next: &mut dyn FnMut() -> $crate::table::Cell<'a>) -> Option<Self> {
                // A struct literal evaluates its fields as written, so `next` sees the order of the columns.
                Some(Self {
                    $($($column: $crate::table::Field::from_cell(next())?,)?
                      $($part: $crate::table::Part::build(next)?,)?)+
                })
            }
        }
    };
}

/// Declares a row type: `Name = "name" version 1: "about"; column: type, "unit", "meaning"; ...`.
///
/// Columns that say which row a row is come first ([`TableInfo::keys`](crate::table::TableInfo::keys)); where that does not say it, the
/// table is `version 1 keyed by one, another`.
///
/// `..field: Shared;` stands for all columns of a [`part!`]. A column that version 1 did not have ends in `, since 2`, and the
/// table says `version 2 upgraded by f`, where `f` fills such columns in rows of older files
/// ([`Row::upgrade`](crate::table::Row::upgrade)).
///
/// From this one declaration come the struct with documented public fields (serde included), its [`TableInfo`], and
/// its [`Row`] implementation, hence schema, writer, reader and documentation.
#[macro_export]
macro_rules! table {
    ($(#[$attr:meta])* $row:ident = $name:literal version $version:literal $(keyed by $($key:ident),+)? $(upgraded by $older:path)?:
     $about:expr;
     $($columns:tt)+) => {
        $crate::part! {
            $(#[$attr])*
            #[doc = ""]
            #[doc = $about]
            $row: $($columns)+
        }

        impl $crate::table::Row for $row {
            const TABLE: &'static $crate::table::TableInfo = &$crate::table::TableInfo {
                name: $name,
                version: $version,
                about: $about,
                columns: <$row as $crate::table::Part>::COLUMNS,
                keyed_by: &[$($(stringify!($key)),+)?],
            };

            fn upgrade(&mut self, how: &$crate::table::Provenance) {
                let _ = how;
                $($older(self, how);)?
            }
        }
    };
}
