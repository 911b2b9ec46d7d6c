//! Arrays of rows as arguments: PostgreSQL's composite types.

/// Says that a struct with a lifetime is the SQL composite type of this name, alone and in arrays.
/// The struct derives `sqlx::Encode`; its fields are the type's attributes, in the same order.
macro_rules! composite_type {
    ($row:ident, $name:literal) => {
        impl sqlx::Type<sqlx::Postgres> for $row<'_> {
            fn type_info() -> sqlx::postgres::PgTypeInfo {
                sqlx::postgres::PgTypeInfo::with_name($name)
            }
        }

        impl sqlx::postgres::PgHasArrayType for $row<'_> {
            fn array_type_info() -> sqlx::postgres::PgTypeInfo {
                sqlx::postgres::PgTypeInfo::array_of($name)
            }
        }
    };
}

pub(crate) use composite_type;
