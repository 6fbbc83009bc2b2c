//! The DynamoDB API for the simulator: the code that serves clients, over the store of a simulated region.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper::StatusCode;

use crate::api::{self, Backend, Keys, RegionInfo, WriteFuture};
use crate::replica::ApiError;
use crate::replica::request::{WriteRequest, WriteResponse};
use crate::simulation::script::{Api, Call, Place, Turn};
use crate::store::{ReadTxn, Store};

/// The account of every region.
const ACCOUNT: &str = "000000000000";

pub struct Requests;

impl Api for Requests {
    fn call(
        &self,
        place: &Place,
        store: Arc<dyn Store>,
        operation: &str,
        body: Vec<u8>,
    ) -> Box<dyn Call> {
        let name = |(id, name): &(_, String)| (*id == place.region).then(|| name.clone());
        let desk = Arc::new(Desk {
            info: RegionInfo {
                name: place.regions.iter().find_map(name).unwrap_or_default(),
                id: place.region,
                account: ACCOUNT.to_owned(),
                topology: crate::api::Regions::new(place.regions.clone()),
            },
            keys: Keys::Any,
            store,
            write: Mutex::new(Write::None),
        });
        let target = format!("DynamoDB_20120810.{operation}");
        let answering = Arc::clone(&desk);
        let answer = async move { api::answer_to(&*answering, &target, &body).await };
        Box::new(UnderWay {
            desk,
            answer: Box::pin(answer),
        })
    }
}

/// The write that a request waits for.
enum Write {
    None,
    Wanted(Box<WriteRequest>),
    UnderWay,
    Done(Result<WriteResponse, ApiError>),
}

/// The backend of one request.
struct Desk {
    info: RegionInfo,
    keys: Keys,
    store: Arc<dyn Store>,
    write: Mutex<Write>,
}

impl Desk {
    /// Puts something in the place of what was there.
    fn replace(&self, write: Write) -> Write {
        let mut here = self.write.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut here, write)
    }
}

impl Backend for Desk {
    fn region(&self) -> &RegionInfo {
        &self.info
    }

    fn keys(&self) -> &Keys {
        &self.keys
    }

    fn write(&self, request: WriteRequest) -> WriteFuture<'_> {
        self.replace(Write::Wanted(Box::new(request)));
        Box::pin(std::future::poll_fn(|_| match self.replace(Write::None) {
            Write::Done(answer) => Poll::Ready(answer),
            other => {
                self.replace(other);
                Poll::Pending
            }
        }))
    }

    fn read(
        &self,
        reader: &mut dyn FnMut(&dyn ReadTxn) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let txn = self.store.begin_read()?;
        reader(&*txn)
    }
}

struct UnderWay {
    desk: Arc<Desk>,
    answer: Pin<Box<dyn Future<Output = (StatusCode, Vec<u8>)>>>,
}

impl Call for UnderWay {
    fn go_on(&mut self, written: Option<Result<WriteResponse, ApiError>>) -> Turn {
        if let Some(answer) = written {
            self.desk.replace(Write::Done(answer));
        }
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready((status, body)) = self.answer.as_mut().poll(&mut context) {
            return Turn::Answer(status.as_u16(), body);
        }
        match self.desk.replace(Write::UnderWay) {
            Write::Wanted(request) => Turn::Write(request),
            _ => {
                let reason = "a request waits for something that is no write";
                Turn::Answer(500, reason.as_bytes().to_vec())
            }
        }
    }
}
