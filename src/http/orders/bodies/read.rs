//! Reads the bodies of commands.

use std::collections::HashSet;

use serde_json::value::RawValue;

use crate::http::{
    problem::{ApiError, Code, FieldError, error::price_error},
    request::{
        context::new_id,
        json::{FieldErrors, Object, read_string, well_formed},
    },
};
use crate::{
    event_sourcing::Version,
    order::{
        Currency, CustomerId, InvalidMoney, MAX_LINES, NewItem, OrderCommand, OrderId, OutOfRange,
        ProductId, Quantity, Reason, command::Price, currency::UnknownCurrency,
    },
};

/// Makes the command when the order's id is known.
pub type CreateCommand = Box<dyn FnOnce(OrderId) -> OrderCommand + Send>;

/// Reads [`CreateOrder`](super::CreateOrder).
///
/// # Errors
/// 400 `malformed_json`, or 422 with all invalid fields.
pub fn create_order(
    body: &[u8],
    default_currency: Currency,
) -> Result<(Option<OrderId>, CreateCommand), ApiError> {
    let mut errors = FieldErrors::default();
    let mut object = Object::open(well_formed(body)?, "#", &mut errors);
    let id = object.optional_uuid("id", &mut errors).map(OrderId::new);
    let customer_id = object.text("customerId", CustomerId::parse, &mut errors);
    let currency = currency(&mut object, default_currency, &mut errors);
    let elements = object
        .optional_array("items", &mut errors)
        .unwrap_or_default();
    object.close(&mut errors);
    let items = created_items(elements, currency, &mut errors);
    errors.check()?;
    let (Some(customer_id), Some(currency)) = (customer_id, currency) else {
        return Err(unreported());
    };
    let command = move |order_id| OrderCommand::Create {
        order_id,
        customer_id,
        currency,
        items,
    };
    Ok((id, Box::new(command)))
}

/// Reads the currency of the prices; `None` if it is invalid.
fn currency(
    object: &mut Object<'_>,
    default: Currency,
    errors: &mut FieldErrors,
) -> Option<Currency> {
    let Some(code) = object.optional_value("currency") else {
        return Some(default);
    };
    let pointer = || object.pointer_to("currency");
    let code = read_string(code, pointer, errors)?;
    match code.parse() {
        Ok(currency) => Some(currency),
        Err(error) => {
            let _: UnknownCurrency = error;
            let detail = "must be an ISO 4217 code such as EUR";
            errors.push(FieldError::pointer(pointer(), "invalid_currency", detail));
            None
        }
    }
}

/// Reads the lines of a new order. If there are too many, that is the only error about them.
fn created_items(
    elements: Vec<&RawValue>,
    currency: Option<Currency>,
    errors: &mut FieldErrors,
) -> Vec<NewItem> {
    if elements.len() > MAX_LINES {
        let (code, detail) = (
            Code::LimitExceeded,
            format!("must have at most {MAX_LINES} items"),
        );
        errors.push(FieldError::pointer("#/items", code.as_str(), detail));
        return vec![];
    }
    let mut items = Vec::with_capacity(elements.len());
    let mut ids = HashSet::with_capacity(elements.len());
    for (index, element) in elements.into_iter().enumerate() {
        let pointer = format!("#/items/{index}");
        let Some(item) = created_item(element, &pointer, currency, errors) else {
            continue;
        };
        if !ids.insert(item.item_id) {
            let pointer = format!("{pointer}/itemId");
            errors.push(FieldError::pointer(
                pointer,
                "duplicate",
                "must not be used twice",
            ));
        }
        items.push(item);
    }
    items
}

fn created_item(
    element: &RawValue,
    pointer: &str,
    currency: Option<Currency>,
    errors: &mut FieldErrors,
) -> Option<NewItem> {
    let mut object = Object::open(element, pointer, errors);
    let item = item(&mut object, currency, errors);
    object.close(errors);
    item
}

/// Reads the members of a line. While the currency is not known, a price is refused only if no
/// currency allows it. The currency with the most decimals decides that, except about prices that
/// are too large for it: another currency may allow them.
fn item(
    object: &mut Object<'_>,
    currency: Option<Currency>,
    errors: &mut FieldErrors,
) -> Option<NewItem> {
    let given = object.optional_uuid("itemId", errors);
    let product_id = object.text("productId", ProductId::parse, errors);
    let quantity = object.number("quantity", Quantity::new, errors);
    let price = object.price("price", errors);
    let checked = price.as_ref().map(|price| match currency {
        Some(currency) => price.in_currency(currency),
        None => price.in_currency(Currency::finest()),
    });
    let may_fit_another = currency.is_none() && checked == Some(Err(InvalidMoney::TooLarge));
    if let Some(Err(reason)) = checked
        && !may_fit_another
    {
        errors.push(price_error(object.pointer_to("price"), reason));
    }
    let price = match (currency, checked) {
        (Some(_), Some(Ok(money))) => Some(Price::Exact(money)),
        _ => price,
    };
    Some(NewItem {
        item_id: given.unwrap_or_else(new_id).into(),
        is_id_given: given.is_some(),
        product_id: product_id?,
        quantity: quantity?,
        price: price?,
    })
}

/// Reads [`NewOrderItem`](super::NewOrderItem).
///
/// # Errors
/// 400 `malformed_json`, or 422 with all invalid fields.
pub fn add_item(body: &[u8]) -> Result<(NewItem, Option<Version>), ApiError> {
    let mut errors = FieldErrors::default();
    let mut object = Object::open(well_formed(body)?, "#", &mut errors);
    let item = item(&mut object, None, &mut errors);
    let expected = expected_version(&mut object, &mut errors);
    object.close(&mut errors);
    errors.check()?;
    Ok((item.ok_or_else(unreported)?, expected))
}

/// Reads [`ChangeItem`](super::ChangeItem).
///
/// # Errors
/// 400 `malformed_json`, or 422 with all invalid fields.
pub fn change_item(body: &[u8]) -> Result<(Quantity, Option<Version>), ApiError> {
    let mut errors = FieldErrors::default();
    let mut object = Object::open(well_formed(body)?, "#", &mut errors);
    let quantity = object.number("quantity", Quantity::new, &mut errors);
    let expected = expected_version(&mut object, &mut errors);
    object.close(&mut errors);
    errors.check()?;
    Ok((quantity.ok_or_else(unreported)?, expected))
}

/// Reads [`CompleteOrder`](super::CompleteOrder) or an empty body.
///
/// # Errors
/// 400 `malformed_json`, or 422 with all invalid fields.
pub fn complete_order(body: &[u8]) -> Result<Option<Version>, ApiError> {
    optional(body, expected_version)
}

/// Reads [`CancelOrder`](super::CancelOrder) or an empty body.
///
/// # Errors
/// 400 `malformed_json`, or 422 with all invalid fields.
pub fn cancel_order(body: &[u8]) -> Result<(Option<Reason>, Option<Version>), ApiError> {
    optional(body, |object, errors| {
        let reason = object.optional_text("reason", Reason::parse, errors);
        (reason, expected_version(object, errors))
    })
}

/// Reads the body of a command that takes none: it must be empty, or an object without members.
///
/// # Errors
/// 400 `malformed_json`, or 422 with all invalid fields.
pub fn nothing(body: &[u8]) -> Result<(), ApiError> {
    optional(body, |_, _| ())
}

fn optional<T: Default>(
    body: &[u8],
    read: impl FnOnce(&mut Object<'_>, &mut FieldErrors) -> T,
) -> Result<T, ApiError> {
    if body.is_empty() {
        return Ok(T::default());
    }
    let mut errors = FieldErrors::default();
    let mut object = Object::open(well_formed(body)?, "#", &mut errors);
    let read = read(&mut object, &mut errors);
    object.close(&mut errors);
    errors.check()?;
    Ok(read)
}

fn expected_version(object: &mut Object<'_>, errors: &mut FieldErrors) -> Option<Version> {
    object.optional_number("expectedVersion", version, errors)
}

/// Checks that an order can have this version.
fn version(number: u32) -> Result<Version, OutOfRange> {
    const MAX: u32 = i32::MAX.cast_unsigned();
    let in_range = i32::try_from(number).ok().filter(|number| *number >= 1);
    in_range
        .map(Version::new)
        .ok_or(OutOfRange { min: 1, max: MAX })
}

/// A required member is missing but was not reported: an error of this reader, not of the client.
#[derive(Debug, thiserror::Error)]
#[error("a required member is missing but was not reported as missing")]
struct UnreportedMember;

fn unreported() -> ApiError {
    ApiError::internal(UnreportedMember)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;
    use utoipa::{PartialSchema, ToSchema};

    use super::*;
    use crate::http::{
        orders::bodies::{
            CancelOrder, ChangeItem, CompleteOrder, CreateOrder, CreateOrderItem, NewOrderItem,
        },
        request::asked,
    };

    type Names = BTreeSet<String>;

    /// The documented members of a body: all of them, and the required ones.
    fn documented<T: ToSchema>() -> (Names, Names) {
        let schema = serde_json::to_value(<T as PartialSchema>::schema()).unwrap();
        let members = schema["properties"].as_object().unwrap();
        let required = schema["required"].as_array().into_iter().flatten();
        let required = required.filter_map(Value::as_str).map(str::to_owned);
        (members.keys().cloned().collect(), required.collect())
    }

    /// The members that a reader takes from an empty object: all of them, and the required ones.
    fn read<T>(reader: impl FnOnce(&[u8]) -> Result<T, ApiError>) -> (Names, Names) {
        let mut required = Names::new();
        let taken = asked::during(|| {
            for error in reader(b"{}")
                .err()
                .into_iter()
                .flat_map(|error| error.errors)
            {
                assert_eq!(error.code, "required");
                let pointer = error.pointer.unwrap();
                required.insert(pointer.trim_start_matches("#/").to_owned());
            }
        });
        (taken, required)
    }

    fn create(body: &[u8]) -> Result<(), ApiError> {
        create_order(body, Currency::finest()).map(|_| ())
    }

    fn created_line(body: &[u8]) -> Result<(), ApiError> {
        let mut errors = FieldErrors::default();
        created_item(well_formed(body)?, "#", None, &mut errors);
        errors.check()
    }

    #[test]
    fn every_documented_member_is_read_and_every_member_read_is_documented() {
        assert_eq!(read(create), documented::<CreateOrder>());
        assert_eq!(read(created_line), documented::<CreateOrderItem>());
        assert_eq!(read(add_item), documented::<NewOrderItem>());
        assert_eq!(read(change_item), documented::<ChangeItem>());
        assert_eq!(read(complete_order), documented::<CompleteOrder>());
        assert_eq!(read(cancel_order), documented::<CancelOrder>());
        assert_eq!(read(nothing), (Names::new(), Names::new()));
    }
}
