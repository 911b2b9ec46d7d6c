//! Lists orders: filters, sorts and pages.
#![expect(
    clippy::missing_errors_doc,
    reason = "the responses of each operation document them"
)]

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, Uri, header},
    response::Response,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use utoipa::IntoParams;

use super::{
    cursor,
    views::{OrderPage, page::entries},
};
use crate::http::{
    api::Api,
    problem::{ApiError, Code},
    request::{consistency::Consistency, parameters::QueryParameters},
    response::json,
};
use crate::{
    order::Status,
    read_model::{ListQuery, ListSort, ListStart},
};

/// How many orders a numbered page may skip: the database must read all that it skips.
const MAX_DEPTH: u64 = 10_000;

/// Which orders are listed, and how.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "documents what read_parameters reads")]
pub struct ListParameters {
    /// Only orders of this customer.
    customer_id: Option<String>,
    /// Only orders with this status; may be repeated.
    #[param(style = Form, explode, example = json!(["created"]))]
    status: Option<Vec<String>>,
    /// Only orders that have a line of this product now.
    product_id: Option<String>,
    /// Only orders created at or after this time (RFC 3339 with an offset).
    created_from: Option<String>,
    /// Only orders created before this time.
    created_to: Option<String>,
    /// Only orders last changed at or after this time.
    updated_from: Option<String>,
    /// Only orders last changed before this time.
    updated_to: Option<String>,
    /// The order of the list: `-createdAt` (default), `createdAt`, `-updatedAt` or `updatedAt`.
    sort: Option<String>,
    /// The number of the page, from 1; not with `cursor`.
    #[param(minimum = 1)]
    page: Option<u32>,
    /// The largest number of orders on a page (default 20).
    #[param(minimum = 1, maximum = 100)]
    page_size: Option<u32>,
    /// The `nextCursor` of the previous page; not with `page`.
    cursor: Option<String>,
    /// Whether to count the orders that match, up to 10000.
    include_total: Option<bool>,
    /// `summary` (default), or `full` for orders with their lines.
    view: Option<String>,
}

/// The parameters of a request for a list.
struct Listing {
    query: ListQuery,
    page: Option<u32>,
    page_size: u32,
}

/// Lists orders
///
/// The default is newest first. `nextCursor` and the `Link` header lead to the next page. A page of
/// whole orders (`view=full`) may end before `pageSize`, once it holds 4 MiB: `hasMore` is then true,
/// and `nextCursor` goes on after its last order. The next `page` would begin behind `pageSize` orders.
#[utoipa::path(
    get, path = "/v1/orders", tag = "Queries", params(ListParameters),
    responses((status = 200, description = "A page of orders", body = OrderPage))
)]
pub async fn list_orders(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Listing {
        query,
        page,
        page_size,
    } = read_parameters(&uri)?;
    let consistency = Consistency::of(&headers)?;
    let found = api
        .reads
        .until(&consistency, async |views| views.list(&query).await)
        .await?;
    let items = entries(&found.orders, query.with_items)?;
    let has_more = found.has_more || items.len() < found.orders.len();
    let last = found.orders.get(..items.len()).and_then(<[_]>::last);
    let last = last.filter(|_| has_more);
    let next_cursor = last.map(|rows| cursor::encode(&query, query.sort.key(&rows.order)));
    let link = next_cursor
        .as_deref()
        .and_then(|cursor| next_link(&uri, cursor));
    let mut response = json(&OrderPage {
        items,
        page,
        page_size,
        has_more,
        next_cursor,
        total_count: found.total.map(|total| total.count),
        total_count_capped: found.total.is_some_and(|total| total.is_capped),
    })?;
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    consistency.write(found.projection_position, response.headers_mut());
    Ok(response)
}

fn read_parameters(uri: &Uri) -> Result<Listing, ApiError> {
    let mut parameters = QueryParameters::of(uri);
    let mut query = ListQuery {
        customer_id: parameters.text("customerId"),
        statuses: statuses(&mut parameters),
        product_id: parameters.text("productId"),
        created_from: parameters.bound("createdFrom"),
        created_to: parameters.bound("createdTo"),
        updated_from: parameters.bound("updatedFrom"),
        updated_to: parameters.bound("updatedTo"),
        sort: sort(&mut parameters),
        start: ListStart::default(),
        limit: 20,
        with_total: parameters.flag("includeTotal"),
        with_items: is_full(&mut parameters),
    };
    let page_size = parameters.number("pageSize", 1, 100).unwrap_or(20);
    query.limit = page_size;
    let page = parameters.number_from_one("page");
    let cursor = parameters.take("cursor");
    if page.is_some() && cursor.is_some() {
        parameters.refuse("page", "exclusive", "cannot be combined with cursor");
    }
    parameters.close()?;
    if let Some(cursor) = cursor {
        let (at, id) = cursor::decode(&query, &cursor)?;
        query.start = ListStart::After(at, id);
        return Ok(Listing {
            query,
            page: None,
            page_size,
        });
    }
    let page = page.unwrap_or(1);
    let depth = page.saturating_sub(1).saturating_mul(u64::from(page_size));
    if depth > MAX_DEPTH {
        let detail = format!("A page may skip at most {MAX_DEPTH} orders; use nextCursor.");
        return Err(ApiError::new(Code::PageTooDeep, detail));
    }
    query.start = ListStart::Offset(u32::try_from(depth).unwrap_or(u32::MAX));
    Ok(Listing {
        query,
        page: u32::try_from(page).ok(),
        page_size,
    })
}

/// Takes all values of `status`.
pub(super) fn statuses(parameters: &mut QueryParameters) -> Vec<Status> {
    let mut statuses = vec![];
    for name in parameters.take_all("status") {
        if let Ok(status) = name.parse() {
            statuses.push(status);
        } else {
            let detail = "must be created, completed or cancelled";
            parameters.refuse("status", "invalid", detail);
        }
    }
    statuses
}

fn sort(parameters: &mut QueryParameters) -> ListSort {
    match parameters.take("sort").as_deref() {
        None | Some("-createdAt") => ListSort::CreatedDescending,
        Some("createdAt") => ListSort::CreatedAscending,
        Some("-updatedAt") => ListSort::UpdatedDescending,
        Some("updatedAt") => ListSort::UpdatedAscending,
        Some(_) => {
            let detail = "must be createdAt, -createdAt, updatedAt or -updatedAt";
            parameters.refuse("sort", "invalid", detail);
            ListSort::default()
        }
    }
}

fn is_full(parameters: &mut QueryParameters) -> bool {
    match parameters.take("view").as_deref() {
        None | Some("summary") => false,
        Some("full") => true,
        Some(_) => {
            parameters.refuse("view", "invalid", "must be summary or full");
            false
        }
    }
}

/// The `Link` to the next page: the same query with this cursor.
fn next_link(uri: &Uri, cursor: &str) -> Option<HeaderValue> {
    let kept = uri.query().unwrap_or_default().split('&').filter(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        !pair.is_empty() && name != "page" && name != "cursor"
    });
    let cursor = format!("cursor={}", utf8_percent_encode(cursor, NON_ALPHANUMERIC));
    let query = kept
        .map(str::to_owned)
        .chain([cursor])
        .collect::<Vec<_>>()
        .join("&");
    HeaderValue::try_from(format!("<{}?{query}>; rel=\"next\"", uri.path())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::asked;

    #[test]
    fn every_documented_parameter_is_read_and_every_parameter_read_is_documented() {
        let read = asked::during(|| read_parameters(&Uri::from_static("/")));

        assert_eq!(read, asked::documented::<ListParameters>());
    }
}
