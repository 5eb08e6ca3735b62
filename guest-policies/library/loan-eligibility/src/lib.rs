//! Is an applicant eligible for a consumer credit? Every reason names the law that it rests on (`policy.toml`,
//! `references`), as a creditor must be able to say why a machine refused.
//!
//! The rule `eligible` takes an application (`schemas/application.input.json`) and answers `{"allow", "instalment_cents"}`:
//! the monthly instalment is that of an annuity, and must fit into what the income leaves free. Money is in cents,
//! rates are in hundredths of a per cent a year. Reasons to refuse are all told, not only the first; an eligible
//! applicant is told what the assessment rests on. The age is that at the decision time, in UTC.
//!
//! An example and no legal advice: thresholds are a creditor's own, the directive leaves them open.

mod date;

use date::Date;
use serde::{Deserialize, Serialize};
use verdict_sdk::{Decision, Failure, Reason, decision_time};

verdict_sdk::policy! { "eligible" => eligible }

/// Below this the income counts as needed for living, in cents a month.
const SUBSISTENCE_CENTS: u64 = 120_000;
/// The directive's upper limit of a consumer credit, in cents.
const AMOUNT_CENTS_MAX: u64 = 10_000_000;
const TERM_MONTHS_MAX: u32 = 120;
const ADULT_YEARS: u16 = 18;

#[derive(Deserialize)]
struct Application {
    applicant: Applicant,
    credit: Credit,
}

#[derive(Deserialize)]
struct Applicant {
    birth_date: String,
    income_cents: u64,
    obligations_cents: u64,
    /// Entries in a credit database that the creditor has consulted.
    defaults: u32,
}

#[derive(Deserialize)]
struct Credit {
    amount_cents: u64,
    term_months: u32,
    /// Hundredths of a per cent a year: 450 is 4.5 %.
    rate_basis_points: u32,
}

#[derive(Serialize)]
struct Answer {
    allow: bool,
    instalment_cents: u64,
}

fn eligible(application: Application) -> Result<Decision, Failure> {
    let Application { applicant, credit } = application;
    check(&credit)?;
    let instalment_cents = credit.instalment_cents();
    let refusals: Vec<Reason> =
        [age(&applicant)?, amount(&credit), income(&applicant, instalment_cents), defaults(&applicant)]
            .into_iter()
            .flatten()
            .collect();
    let allow = refusals.is_empty();
    let decision = Decision::value(&Answer { allow, instalment_cents })?.because_all(refusals);
    Ok(if allow { decision.because(affordable()) } else { decision })
}

fn check(credit: &Credit) -> Result<(), Failure> {
    let wrong = |message, field| Err(Failure::invalid_input("invalid-input", message).at(field));
    if !(1..=TERM_MONTHS_MAX).contains(&credit.term_months) {
        return wrong("the term must be 1 to 120 months", "/credit/term_months");
    }
    if credit.amount_cents == 0 {
        return wrong("the amount must not be zero", "/credit/amount_cents");
    }
    if credit.rate_basis_points > 10_000 {
        return wrong("the rate must be at most 10000 basis points", "/credit/rate_basis_points");
    }
    Ok(())
}

impl Credit {
    /// The monthly instalment of an annuity, rounded up.
    fn instalment_cents(&self) -> u64 {
        let monthly_rate = f64::from(self.rate_basis_points) / 10_000.0 / 12.0;
        let discount = (0..self.term_months).fold(1.0, |factor, _| factor / (1.0 + monthly_rate));
        let share = if monthly_rate == 0.0 {
            1.0 / f64::from(self.term_months)
        } else {
            monthly_rate / (1.0 - discount)
        };
        (self.amount_cents as f64 * share).ceil() as u64
    }
}

fn age(applicant: &Applicant) -> Result<Option<Reason>, Failure> {
    let field = "/applicant/birth_date";
    let born = Date::parse(&applicant.birth_date).ok_or_else(|| {
        Failure::invalid_input("invalid-input", "the birth date must be a date, YYYY-MM-DD").at(field)
    })?;
    let today = decision_time::now();
    let today = today
        .get(..10)
        .and_then(Date::parse)
        .ok_or_else(|| Failure::internal("decision-time", "the decision time does not start with a date"))?;
    let is_adult = born.plus_years(ADULT_YEARS) <= today;
    Ok((!is_adult)
        .then(|| Reason::new("under-age", "the applicant is not of age").reference("majority").on(field)))
}

fn amount(credit: &Credit) -> Option<Reason> {
    (credit.amount_cents > AMOUNT_CENTS_MAX).then(|| {
        Reason::new("amount-out-of-scope", "the amount is above that of a consumer credit")
            .reference("scope")
            .on("/credit/amount_cents")
    })
}

fn income(applicant: &Applicant, instalment_cents: u64) -> Option<Reason> {
    let needed =
        SUBSISTENCE_CENTS.saturating_add(applicant.obligations_cents).saturating_add(instalment_cents);
    (applicant.income_cents < needed).then(|| {
        Reason::new("income-too-low", "the income does not leave room for the instalment")
            .reference("creditworthiness")
            .on("/applicant/income_cents")
            .on("/applicant/obligations_cents")
    })
}

fn defaults(applicant: &Applicant) -> Option<Reason> {
    (applicant.defaults > 0).then(|| {
        Reason::new("payment-default", "a credit database knows of a payment default")
            .reference("databases")
            .on("/applicant/defaults")
    })
}

fn affordable() -> Reason {
    Reason::new("affordable", "the income carries the instalment")
        .reference("creditworthiness")
        .on("/applicant/income_cents")
}
