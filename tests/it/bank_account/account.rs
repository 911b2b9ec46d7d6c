//! The account. `decide` has all rules, `evolve` has none. Amounts are in minor units.

use orders::event_sourcing::{
    Aggregate, DecodeError, DomainEvent, Timestamp, UpcasterChain,
    upcast::{ChainError, JsonObject, LiftError, Upcaster},
};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

/// An account. It is `Absent` before it is opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BankAccount {
    #[default]
    Absent,
    Open {
        owner: String,
        currency: String,
        balance: u64,
    },
    Closed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountCommand {
    Open {
        owner: String,
        initial_deposit: u64,
        currency: String,
    },
    Deposit(u64),
    Withdraw(u64),
    Close,
}

/// Each variant is the stored JSON of its event's newest schema version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum AccountEvent {
    Opened {
        owner: String,
        initial_deposit: u64,
        currency: String,
    },
    Deposited(Deposited),
    Withdrawn(Withdrawn),
    Closed {},
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deposited {
    pub amount: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawn {
    pub amount: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountRefusal {
    #[error("the account does not exist")]
    NotOpen,
    #[error("the account is open already")]
    AlreadyOpen,
    #[error("the account is closed")]
    Closed,
    #[error("an amount must be more than zero")]
    AmountZero,
    #[error("the balance is {balance}, {requested} cannot be withdrawn")]
    InsufficientFunds { balance: u64, requested: u64 },
    #[error("the balance would be too large")]
    TooLarge,
    #[error("the balance is {0}, an account is closed at zero only")]
    BalanceNotZero(u64),
}

/// The largest balance, in minor units: the projection stores it as a `bigint`.
pub const MAX_BALANCE: u64 = i64::MAX as u64;

impl DomainEvent for AccountEvent {
    const SCHEMAS: &'static [(&'static str, i16)] = &[
        ("AccountOpened", 2),
        ("MoneyDeposited", 1),
        ("MoneyWithdrawn", 1),
        ("AccountClosed", 1),
    ];

    fn schema_version(&self) -> i16 {
        match self {
            Self::Opened { .. } => 2,
            Self::Deposited(_) | Self::Withdrawn(_) | Self::Closed {} => 1,
        }
    }

    fn event_type(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "AccountOpened",
            Self::Deposited(_) => "MoneyDeposited",
            Self::Withdrawn(_) => "MoneyWithdrawn",
            Self::Closed {} => "AccountClosed",
        }
    }

    fn encode(&self) -> Result<Box<RawValue>, serde_json::Error> {
        to_raw_value(self)
    }

    fn decode(event_type: &str, data: &RawValue) -> Result<Self, DecodeError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Opened {
            owner: String,
            initial_deposit: u64,
            currency: String,
        }
        let text = data.get();
        let decoded = match event_type {
            "AccountOpened" => serde_json::from_str(text).map(|opened: Opened| Self::Opened {
                owner: opened.owner,
                initial_deposit: opened.initial_deposit,
                currency: opened.currency,
            }),
            "MoneyDeposited" => serde_json::from_str(text).map(Self::Deposited),
            "MoneyWithdrawn" => serde_json::from_str(text).map(Self::Withdrawn),
            "AccountClosed" => Ok(Self::Closed {}),
            unknown => return Err(DecodeError::UnknownType(unknown.to_owned())),
        };
        decoded.map_err(|source| DecodeError::Malformed {
            event_type: event_type.to_owned(),
            source,
        })
    }
}

impl Aggregate for BankAccount {
    const TYPE: &'static str = "BankAccount";
    const STATE_SCHEMA: i32 = 1;
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Refusal = AccountRefusal;

    fn decide(&self, command: &AccountCommand) -> Result<Vec<AccountEvent>, AccountRefusal> {
        match (self, command) {
            (
                Self::Absent,
                AccountCommand::Open {
                    owner,
                    initial_deposit,
                    currency,
                },
            ) => Ok(vec![AccountEvent::Opened {
                owner: owner.clone(),
                initial_deposit: checked_amount(*initial_deposit)?,
                currency: currency.clone(),
            }]),
            (Self::Absent, _) => Err(AccountRefusal::NotOpen),
            (Self::Closed, _) => Err(AccountRefusal::Closed),
            (Self::Open { .. }, AccountCommand::Open { .. }) => Err(AccountRefusal::AlreadyOpen),
            (Self::Open { balance, .. }, AccountCommand::Deposit(amount)) => {
                let amount = checked_amount(*amount)?;
                match balance.checked_add(amount) {
                    Some(sum) if sum <= MAX_BALANCE => {
                        Ok(vec![AccountEvent::Deposited(Deposited { amount })])
                    }
                    _ => Err(AccountRefusal::TooLarge),
                }
            }
            (Self::Open { balance, .. }, AccountCommand::Withdraw(amount)) => {
                let (balance, requested) = (*balance, checked_amount(*amount)?);
                if requested > balance {
                    return Err(AccountRefusal::InsufficientFunds { balance, requested });
                }
                Ok(vec![AccountEvent::Withdrawn(Withdrawn {
                    amount: requested,
                })])
            }
            (Self::Open { balance: 0, .. }, AccountCommand::Close) => {
                Ok(vec![AccountEvent::Closed {}])
            }
            (Self::Open { balance, .. }, AccountCommand::Close) => {
                Err(AccountRefusal::BalanceNotZero(*balance))
            }
        }
    }

    fn evolve(&mut self, event: &AccountEvent, _at: Timestamp) {
        match (&mut *self, event) {
            (
                _,
                AccountEvent::Opened {
                    owner,
                    initial_deposit,
                    currency,
                },
            ) => {
                *self = Self::Open {
                    owner: owner.clone(),
                    currency: currency.clone(),
                    balance: *initial_deposit,
                }
            }
            (Self::Open { balance, .. }, AccountEvent::Deposited(event)) => {
                *balance += event.amount;
            }
            (Self::Open { balance, .. }, AccountEvent::Withdrawn(event)) => {
                *balance -= event.amount;
            }
            (Self::Open { .. }, AccountEvent::Closed {}) => *self = Self::Closed,
            (Self::Absent | Self::Closed, _) => {}
        }
    }
}

fn checked_amount(amount: u64) -> Result<u64, AccountRefusal> {
    match amount {
        0 => Err(AccountRefusal::AmountZero),
        amount if amount > MAX_BALANCE => Err(AccountRefusal::TooLarge),
        amount => Ok(amount),
    }
}

/// Upcasts `AccountOpened`: version 1 was `{owner, balance}` in euro; version 2 has `initialDeposit`
/// and `currency` instead of `balance`.
pub fn upcasters() -> Result<UpcasterChain, ChainError> {
    UpcasterChain::new::<AccountEvent>([(
        "AccountOpened",
        1,
        Box::new(opened_v1_to_v2) as Upcaster,
    )])
}

fn opened_v1_to_v2(_id: Uuid, mut data: JsonObject) -> Result<JsonObject, LiftError> {
    let balance = data
        .remove("balance")
        .ok_or_else(|| LiftError("balance is missing".to_owned()))?;
    data.insert("initialDeposit".to_owned(), balance);
    data.insert("currency".to_owned(), "EUR".into());
    Ok(data)
}
