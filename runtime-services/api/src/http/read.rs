//! GET.

use axum::{
    http::{HeaderValue, header, request::Parts},
    response::Response,
};
use bytes::Bytes;
use orlop_contract::types::EntityId;
use uuid::Uuid;

use super::{Api, answer, header_value, problem::Problem};
use crate::{
    request::{Fault, Refusal, etag, include::Include, list::List},
    store::Page,
};

impl Api {
    pub(super) async fn get(
        &self,
        entity: EntityId,
        id: Uuid,
        head: &Parts,
    ) -> Result<Response, Problem> {
        let include = self.included(entity, head.uri.query().unwrap_or_default())?;
        let (row, lookup) = self.store.one(entity, id, &include).await?;
        let tag = if include.is_empty() {
            self.store.tag(entity, row.version)
        } else {
            // What is included changes by itself, but the version still answers an If-Match.
            etag::of_one(row.version, &etag::fingerprint(&row.json))
        };
        let mut response = answer::json(&head.headers, &tag, row.json);
        if let Some(lookup) = lookup {
            let status = HeaderValue::from_static(lookup.header());
            response.headers_mut().insert("cache-status", status);
        }
        Ok(response)
    }

    pub(super) async fn list(&self, entity: EntityId, head: &Parts) -> Result<Response, Problem> {
        let query = head.uri.query().unwrap_or_default();
        let list = List::parse(&self.model, entity, query)?;
        let page = self.store.list(entity, &list).await?;
        let body = Bytes::from(body(&page));
        let tag = etag::of_bytes(&body);
        let mut response = answer::json(&head.headers, &tag, body);
        if let Some(next) = &page.next {
            let link = format!(
                "<{}?{}>; rel=\"next\"",
                self.routes.collection(entity),
                with_after(query, next)
            );
            response
                .headers_mut()
                .insert(header::LINK, header_value(&link)?);
        }
        Ok(response)
    }

    /// One thing has no filters: nothing but `include` may be asked.
    fn included(&self, entity: EntityId, query: &str) -> Result<Include, Problem> {
        let mut include = Include::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if name != "include" {
                let fault = Fault::parameter(name, "only `include` may be asked of one thing");
                return Err(Refusal::Query(vec![fault]).into());
            }
            include = Include::parse(&self.model, entity, &value)?;
        }
        Ok(include)
    }
}

/// `{"items":[...],"next":"..."}`; the items are JSON already.
fn body(page: &Page) -> String {
    let next = match &page.next {
        // A cursor is letters, digits, dashes and underscores.
        Some(next) => format!("\"{next}\""),
        None => "null".to_owned(),
    };
    format!("{{\"items\":[{}],\"next\":{next}}}", page.items.join(","))
}

/// The same query with another place to go on.
fn with_after(query: &str, after: &str) -> String {
    let kept = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "after");
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(kept)
        .append_pair("after", after)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_asked_for_with_the_same_query() {
        assert_eq!(with_after("a=1&after=x&b=%26", "y"), "a=1&b=%26&after=y");
    }

    #[test]
    fn a_page_holds_its_items_as_they_are() {
        let page = Page {
            items: vec!["{\"a\":1}".into(), "{\"a\":2}".into()],
            next: Some("n".into()),
        };
        assert_eq!(body(&page), r#"{"items":[{"a":1},{"a":2}],"next":"n"}"#);
        let empty = Page {
            items: Vec::new(),
            next: None,
        };
        assert_eq!(body(&empty), r#"{"items":[],"next":null}"#);
    }
}
