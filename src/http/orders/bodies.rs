//! The bodies of commands: what they look like (for the OpenAPI document) and how they are read.

use std::collections::HashSet;

use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::{
    problem::error::{ApiError, Code, FieldError, price_error},
    request::json::{Errors, Object, well_formed},
    server::context::new_id,
};
use crate::{
    event_sourcing::Version,
    order::{
        Currency, CustomerId, InvalidMoney, MAX_LINES, NewItem, OrderCommand, OrderId, OutOfRange,
        ProductId, Quantity, Reason, command::Price,
    },
};

/// A new order.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "documents what create_order reads")]
pub struct CreateOrder {
    /// The order's id, where the client chooses it (by default a new one, of version 7).
    #[schema(example = "019aaf00-0000-7000-8000-000000000001")]
    id: Option<Uuid>,
    /// Who orders: opaque text.
    #[schema(min_length = 1, max_length = 128, example = "customer-1")]
    customer_id: String,
    /// ISO 4217 code of all prices (the service has a default).
    #[schema(min_length = 3, max_length = 3, example = "EUR")]
    currency: Option<String>,
    /// The first lines.
    #[schema(max_items = 2000)]
    items: Option<Vec<CreateOrderItem>>,
}

/// A line of a new order.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "documents what create_order reads")]
pub struct CreateOrderItem {
    /// The line's id, where the client chooses it.
    #[schema(example = "019aaf00-0000-7000-8000-0000000000a1")]
    item_id: Option<Uuid>,
    /// What is ordered: opaque text.
    #[schema(min_length = 1, max_length = 128, example = "product-1")]
    product_id: String,
    /// How many.
    #[schema(minimum = 1, maximum = 10000, example = 2)]
    quantity: u32,
    /// The price of one: a decimal string, or a JSON number.
    #[schema(value_type = PriceInput)]
    price: String,
}

/// A line to be added.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"productId": "product-2", "quantity": 1, "price": "0.50"}))]
#[expect(dead_code, reason = "documents what add_item reads")]
pub struct NewOrderItem {
    /// The line's id, where the client chooses it (by default a new one, of version 7).
    item_id: Option<Uuid>,
    /// What is ordered: opaque text.
    #[schema(min_length = 1, max_length = 128, example = "product-2")]
    product_id: String,
    /// How many.
    #[schema(minimum = 1, maximum = 10000, example = 1)]
    quantity: u32,
    /// The price of one: a decimal string, or a JSON number.
    #[schema(value_type = PriceInput)]
    price: String,
    /// The version that the order must be at.
    #[schema(minimum = 1)]
    expected_version: Option<i32>,
}

/// A price on the way in.
#[derive(Debug, serde::Serialize, ToSchema)]
#[serde(untagged)]
#[schema(example = "49.99")]
pub enum PriceInput {
    /// Counts by its text.
    #[schema(example = "49.99")]
    Text(String),
    /// Counts by its exact decimal value.
    #[schema(example = 49.99)]
    Number(f64),
}

/// A new quantity.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"quantity": 3}))]
#[expect(dead_code, reason = "documents what change_item reads")]
pub struct ChangeItem {
    /// How many from now on.
    #[schema(minimum = 1, maximum = 10000, example = 3)]
    quantity: u32,
    /// The version that the order must be at.
    #[schema(minimum = 1)]
    expected_version: Option<i32>,
}

/// How to complete an order.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({}))]
#[expect(dead_code, reason = "documents what complete_order reads")]
pub struct CompleteOrder {
    /// The version that the order must be at.
    #[schema(minimum = 1)]
    expected_version: Option<i32>,
}

/// How to cancel an order.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"reason": "changed my mind"}))]
#[expect(dead_code, reason = "documents what cancel_order reads")]
pub struct CancelOrder {
    /// Why.
    #[schema(max_length = 500, example = "changed my mind")]
    reason: Option<String>,
    /// The version that the order must be at.
    #[schema(minimum = 1)]
    expected_version: Option<i32>,
}

/// Makes the command once the order's id is known.
pub type CreateCommand = Box<dyn FnOnce(OrderId) -> OrderCommand + Send>;

/// Reads [`CreateOrder`].
///
/// # Errors
/// 400 or 422.
pub fn create_order(
    body: &[u8],
    default_currency: Currency,
) -> Result<(Option<OrderId>, CreateCommand), ApiError> {
    let mut errors = Errors::default();
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
        return Err(unnoticed());
    };
    let command = move |order_id| OrderCommand::Create {
        order_id,
        customer_id,
        currency,
        items,
    };
    Ok((id, Box::new(command)))
}

/// The currency that prices are in; `None` where what is there is none.
fn currency(object: &mut Object<'_>, default: Currency, errors: &mut Errors) -> Option<Currency> {
    let Some(code) = object.optional_value("currency") else {
        return Some(default);
    };
    let pointer = || object.pointer_to("currency");
    let code = crate::http::request::json::read_string(code, pointer, errors)?;
    match code.parse() {
        Ok(currency) => Some(currency),
        Err(error) => {
            let _: crate::order::currency::UnknownCurrency = error;
            let detail = "must be an ISO 4217 code such as EUR";
            errors.push(FieldError::pointer(pointer(), "invalid_currency", detail));
            None
        }
    }
}

/// Reads the lines of a new order. Where there are too many, that is all that is said of them.
fn created_items(
    elements: Vec<&RawValue>,
    currency: Option<Currency>,
    errors: &mut Errors,
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
    errors: &mut Errors,
) -> Option<NewItem> {
    let mut object = Object::open(element, pointer, errors);
    let item = item(&mut object, currency, errors);
    object.close(errors);
    item
}

/// Reads the members of a line. A price is judged as strictly as `currency` allows: where it is not
/// known, by what no currency has. What is too large for the finest one may be fine in another.
fn item(
    object: &mut Object<'_>,
    currency: Option<Currency>,
    errors: &mut Errors,
) -> Option<NewItem> {
    let given = object.optional_uuid("itemId", errors);
    let product_id = object.text("productId", ProductId::parse, errors);
    let quantity = object.number("quantity", Quantity::new, errors);
    let price = object.price("price", errors);
    let judged = price.as_ref().map(|price| match currency {
        Some(currency) => price.in_currency(currency),
        None => price.in_currency(Currency::finest()),
    });
    let is_open = currency.is_none() && judged == Some(Err(InvalidMoney::TooLarge));
    if let Some(Err(reason)) = judged
        && !is_open
    {
        errors.push(price_error(object.pointer_to("price"), reason));
    }
    let price = match (currency, judged) {
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

/// Reads [`NewOrderItem`].
///
/// # Errors
/// 400 or 422.
pub fn add_item(body: &[u8]) -> Result<(NewItem, Option<Version>), ApiError> {
    let mut errors = Errors::default();
    let mut object = Object::open(well_formed(body)?, "#", &mut errors);
    let item = item(&mut object, None, &mut errors);
    let expected = expected_version(&mut object, &mut errors);
    object.close(&mut errors);
    errors.check()?;
    Ok((item.ok_or_else(unnoticed)?, expected))
}

/// Reads [`ChangeItem`].
///
/// # Errors
/// 400 or 422.
pub fn change_item(body: &[u8]) -> Result<(Quantity, Option<Version>), ApiError> {
    let mut errors = Errors::default();
    let mut object = Object::open(well_formed(body)?, "#", &mut errors);
    let quantity = object.number("quantity", Quantity::new, &mut errors);
    let expected = expected_version(&mut object, &mut errors);
    object.close(&mut errors);
    errors.check()?;
    Ok((quantity.ok_or_else(unnoticed)?, expected))
}

/// Reads [`CompleteOrder`], or nothing.
///
/// # Errors
/// 400 or 422.
pub fn complete_order(body: &[u8]) -> Result<Option<Version>, ApiError> {
    optional(body, expected_version)
}

/// Reads [`CancelOrder`], or nothing.
///
/// # Errors
/// 400 or 422.
pub fn cancel_order(body: &[u8]) -> Result<(Option<Reason>, Option<Version>), ApiError> {
    optional(body, |object, errors| {
        let reason = object.optional_text("reason", Reason::parse, errors);
        (reason, expected_version(object, errors))
    })
}

/// Reads a body that asks for nothing: none, or an object without members.
///
/// # Errors
/// 400 or 422.
pub fn nothing(body: &[u8]) -> Result<(), ApiError> {
    optional(body, |_, _| ())
}

fn optional<T: Default>(
    body: &[u8],
    read: impl FnOnce(&mut Object<'_>, &mut Errors) -> T,
) -> Result<T, ApiError> {
    if body.is_empty() {
        return Ok(T::default());
    }
    let mut errors = Errors::default();
    let mut object = Object::open(well_formed(body)?, "#", &mut errors);
    let read = read(&mut object, &mut errors);
    object.close(&mut errors);
    errors.check()?;
    Ok(read)
}

fn expected_version(object: &mut Object<'_>, errors: &mut Errors) -> Option<Version> {
    object.optional_number("expectedVersion", version, errors)
}

/// A version that an order can have.
///
/// # Errors
/// Where the number is none.
pub fn version(number: u32) -> Result<Version, OutOfRange> {
    const MAX: u32 = i32::MAX.cast_unsigned();
    let in_range = i32::try_from(number).ok().filter(|number| *number >= 1);
    in_range
        .map(Version::new)
        .ok_or(OutOfRange { min: 1, max: MAX })
}

/// Something is missing, yet no error was noted: a mistake here, not the client's.
fn unnoticed() -> ApiError {
    ApiError::new(Code::InternalError, "The error was logged.").because(std::io::Error::other(
        "a required member is missing without an error",
    ))
}
