//! Specifications of the account: the success and every refusal of each command.

use orders::event_sourcing::testing::given;

use super::account::{
    AccountCommand, AccountEvent, AccountRefusal, BankAccount, Deposited, MAX_BALANCE, Withdrawn,
};

fn open(initial_deposit: u64) -> AccountCommand {
    AccountCommand::Open {
        owner: "Ada".to_owned(),
        initial_deposit,
        currency: "EUR".to_owned(),
    }
}

fn opened(initial_deposit: u64) -> AccountEvent {
    AccountEvent::Opened {
        owner: "Ada".to_owned(),
        initial_deposit,
        currency: "EUR".to_owned(),
    }
}

fn deposited(amount: u64) -> AccountEvent {
    AccountEvent::Deposited(Deposited { amount })
}

fn withdrawn(amount: u64) -> AccountEvent {
    AccountEvent::Withdrawn(Withdrawn { amount })
}

#[test]
fn an_account_is_opened_with_a_deposit() {
    given::<BankAccount>([]).when(open(500)).then([opened(500)]);
}

#[test]
fn an_absent_account_refuses_every_command_but_open() {
    for command in [
        AccountCommand::Deposit(1),
        AccountCommand::Withdraw(1),
        AccountCommand::Close,
    ] {
        given::<BankAccount>([])
            .when(command)
            .then_refused(&AccountRefusal::NotOpen);
    }
}

#[test]
fn an_open_account_cannot_be_opened_again() {
    given::<BankAccount>([opened(500)])
        .when(open(500))
        .then_refused(&AccountRefusal::AlreadyOpen);
}

#[test]
fn a_deposit_raises_the_balance() {
    given::<BankAccount>([opened(500)])
        .when(AccountCommand::Deposit(50))
        .then([deposited(50)]);

    given::<BankAccount>([opened(500), deposited(50)])
        .when(AccountCommand::Withdraw(550))
        .then([withdrawn(550)]);
}

#[test]
fn a_withdrawal_above_the_balance_is_refused() {
    let (balance, requested) = (450, 451);

    given::<BankAccount>([opened(500), withdrawn(50)])
        .when(AccountCommand::Withdraw(requested))
        .then_refused(&AccountRefusal::InsufficientFunds { balance, requested });
}

#[test]
fn an_amount_of_zero_is_refused() {
    given::<BankAccount>([])
        .when(open(0))
        .then_refused(&AccountRefusal::AmountZero);
    for command in [AccountCommand::Deposit(0), AccountCommand::Withdraw(0)] {
        given::<BankAccount>([opened(500)])
            .when(command)
            .then_refused(&AccountRefusal::AmountZero);
    }
}

#[test]
fn a_balance_has_a_limit() {
    given::<BankAccount>([opened(1)])
        .when(AccountCommand::Deposit(MAX_BALANCE))
        .then_refused(&AccountRefusal::TooLarge);
    given::<BankAccount>([opened(1)])
        .when(AccountCommand::Deposit(MAX_BALANCE - 1))
        .then([deposited(MAX_BALANCE - 1)]);
}

#[test]
fn an_account_is_closed_only_if_its_balance_is_zero() {
    given::<BankAccount>([opened(500)])
        .when(AccountCommand::Close)
        .then_refused(&AccountRefusal::BalanceNotZero(500));
    given::<BankAccount>([opened(500), withdrawn(500)])
        .when(AccountCommand::Close)
        .then([AccountEvent::Closed {}]);
}

#[test]
fn a_closed_account_refuses_every_command() {
    for command in [
        open(1),
        AccountCommand::Deposit(1),
        AccountCommand::Withdraw(1),
        AccountCommand::Close,
    ] {
        given::<BankAccount>([opened(5), withdrawn(5), AccountEvent::Closed {}])
            .when(command)
            .then_refused(&AccountRefusal::Closed);
    }
}
