//! Routes beside the OpenAPI document, with their method where it can be read again.

use axum::handler::Handler;
use axum::routing::{self, MethodRouter};
use http::Method;

use crate::app::App;

/// A route that is not made by `routes!`.
#[derive(Debug)]
pub struct Plain {
    /// The one method that it takes.
    pub method: Method,
    /// The pattern of its path.
    pub path: &'static str,
    /// What answers.
    pub handler: MethodRouter<App>,
}

impl Plain {
    /// A route for GET.
    pub fn get<T: 'static>(path: &'static str, handler: impl Handler<T, App>) -> Self {
        Self {
            method: Method::GET,
            path,
            handler: routing::get(handler),
        }
    }

    /// A route for POST.
    pub fn post<T: 'static>(path: &'static str, handler: impl Handler<T, App>) -> Self {
        Self {
            method: Method::POST,
            path,
            handler: routing::post(handler),
        }
    }
}
