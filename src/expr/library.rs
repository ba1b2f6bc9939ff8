//! The named functions and constants of `[functions]`.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use starlark_syntax::syntax::ast::{AssignTarget, AstLiteral, AstStmt, Expr, Stmt};

use super::{
    LambdaError, Limits,
    compile::{self, Compiled, Compiler, GlobalName, GlobalNames, RECURSION, names},
    evaluate::{Machine, callable::Closure},
    node::Code,
    parse,
    piece::{self, Rest},
    shared::Shared,
};
use crate::model::Value;

/// The named functions of a job's `[functions]`, parsed and checked once.
#[derive(Debug, Clone, Default)]
pub struct Library {
    pub(super) shared: Arc<Shared>,
}

/// A definition of `[functions]`, compiled.
enum Definition {
    Function(Compiled),
    Constant(Arc<Code>),
}

impl Library {
    /// `code` is the Starlark text of `[functions]`. All mistakes are returned, none stops at the first.
    pub fn parse(code: &str) -> Result<Library, Vec<LambdaError>> {
        let reading = Library::read(code);
        match reading.errors.is_empty() {
            true => Ok(reading.library),
            false => Err(reading.errors),
        }
    }

    /// As [`Library::parse`]; what can be read of a text with mistakes comes with them.
    pub fn read(code: &str) -> Reading {
        let rest = match parse::module(code) {
            Ok(parsed) => Rest { parsed: Some(parsed), errors: Vec::new(), torn: Vec::new() },
            Err(errors) => piece::rest(code, errors),
        };
        let mut reading = match &rest.parsed {
            Some(parsed) => compile(parsed),
            None => Reading::default(),
        };
        let is_torn = |error: &LambdaError| {
            code.get(error.span.clone()).is_some_and(|word| rest.torn.iter().any(|torn| torn == word.trim()))
        };
        reading.errors.retain(|error| !is_torn(error));
        reading.errors.extend(rest.errors);
        reading.errors.sort_by_key(|error| (error.span.start, error.span.end));
        reading.errors.dedup();
        reading.torn.extend(rest.torn);
        reading
    }
}

/// A text of functions, its mistakes, and what can be used of it.
#[derive(Debug, Default)]
pub struct Reading {
    pub library: Library,
    pub errors: Vec<LambdaError>,
    /// Names that are defined, though nobody knows as what.
    pub torn: Vec<String>,
}

fn compile(parsed: &parse::Parsed<AstStmt>) -> Reading {
    let mut statements = Vec::new();
    flatten(&parsed.tree, &mut statements);
    let mut errors = Vec::new();
    let names = declare(&statements, &parsed.places, &mut errors);
    let mut fields = HashSet::new();
    names::argument_names_in_statement(&parsed.tree, &mut fields);
    let mut compiler = Compiler::new(&parsed.places, &names, true);
    compiler.fields = fields.clone();
    let mut definitions = Vec::new();
    let mut calls = vec![Vec::new(); names.len()];
    for statement in statements {
        let Some((name, definition)) = define(&mut compiler, statement) else { continue };
        let Some(global) = names.get(&name) else { continue };
        if let Some(calls) = calls.get_mut(global.index as usize) {
            *calls = std::mem::take(&mut compiler.calls);
        }
        definitions.push((global.index, definition));
    }
    errors.append(&mut compiler.errors);
    recursion(&names, &calls, &mut errors);
    let mut shared = Shared { fields, names, ..Shared::default() };
    let mut faults = Vec::new();
    fill(&mut shared, definitions, &mut faults);
    // What is computed with mistakes fails because of them.
    if errors.is_empty() {
        errors = faults;
    }
    let unknown = |global: &&GlobalName| shared.values.get(global.index as usize).is_none_or(Option::is_none);
    let torn = shared.names.iter().filter(|(_, global)| unknown(global)).map(|(name, _)| name.clone()).collect();
    Reading { library: Library { shared: Arc::new(shared) }, errors, torn }
}

fn flatten<'a>(statement: &'a AstStmt, into: &mut Vec<&'a AstStmt>) {
    match &statement.node {
        Stmt::Statements(inner) => inner.iter().for_each(|statement| flatten(statement, into)),
        _ => into.push(statement),
    }
}

/// Gives every top-level name its index, and refuses what is no definition.
fn declare(statements: &[&AstStmt], places: &parse::Places, errors: &mut Vec<LambdaError>) -> GlobalNames {
    let mut names = GlobalNames::new();
    let mut declare = |name: &str, span, arity, errors: &mut Vec<LambdaError>| {
        let index = names.len() as u32;
        if names.insert(name.to_owned(), GlobalName { index, arity }).is_some() {
            let message = format!("`{name}` is defined twice");
            errors.push(LambdaError { span: places.range(span), message, hint: None });
        }
    };
    for statement in statements {
        let mut refuse = |message: &str, hint: &str| {
            errors.push(LambdaError {
                span: places.range(statement.span),
                message: message.to_owned(),
                hint: Some(hint.to_owned()),
            });
        };
        match &statement.node {
            Stmt::Def(def) => declare(&def.name.ident, def.name.span, compile::arity(&def.params), errors),
            Stmt::Assign(assign) => match (&assign.lhs.node, &assign.rhs.node) {
                (AssignTarget::Identifier(name), Expr::Lambda(lambda)) => {
                    declare(&name.ident, assign.lhs.span, compile::arity(&lambda.params), errors);
                }
                (AssignTarget::Identifier(name), _) => declare(&name.ident, assign.lhs.span, None, errors),
                _ => refuse("only one name can be defined at a time", "write one definition a line"),
            },
            Stmt::Pass => {}
            Stmt::Expression(expr) if matches!(expr.node, Expr::Literal(AstLiteral::String(_))) => {}
            Stmt::Load(_) => refuse("`load` is not known", "all functions stand in [functions]"),
            Stmt::Expression(_) => refuse("the expression has no effect", "define a name: NAME = ..."),
            Stmt::AssignModify(..) => refuse("constants do not change", "write the value in one definition"),
            _ => refuse("only def and NAME = ... stand here", "put the statement into a def"),
        }
    }
    names
}

fn define(compiler: &mut Compiler<'_>, statement: &AstStmt) -> Option<(String, Definition)> {
    match &statement.node {
        Stmt::Def(def) => {
            let compiled = compiler.def(&def.name.ident, &def.params, &def.body, statement.span);
            Some((def.name.ident.clone(), Definition::Function(compiled)))
        }
        Stmt::Assign(assign) => {
            let AssignTarget::Identifier(name) = &assign.lhs.node else { return None };
            let definition = match &assign.rhs.node {
                Expr::Lambda(lambda) => Definition::Function(compiler.lambda(lambda, assign.rhs.span)),
                _ => Definition::Constant(compiler.constant(&assign.rhs)),
            };
            Some((name.ident.clone(), definition))
        }
        _ => None,
    }
}

/// Reports the calls that close a circle.
fn recursion(names: &GlobalNames, calls: &[Vec<compile::GlobalCall>], errors: &mut Vec<LambdaError>) {
    let by_index: HashMap<u32, &str> = names.iter().map(|(name, global)| (global.index, name.as_str())).collect();
    let reaches = |from: u32, to: u32| {
        let mut seen = HashSet::new();
        let mut open = vec![from];
        while let Some(at) = open.pop() {
            if at == to {
                return true;
            }
            if seen.insert(at) {
                open.extend(calls.get(at as usize).into_iter().flatten().map(|call| call.callee));
            }
        }
        false
    };
    for (caller, calls) in calls.iter().enumerate() {
        for call in calls {
            if !reaches(call.callee, caller as u32) {
                continue;
            }
            let name = |idx: u32| by_index.get(&idx).copied().unwrap_or_default();
            let message = match call.callee == caller as u32 {
                true => format!("`{}` calls itself", name(call.callee)),
                false => format!("`{}` and `{}` call each other", name(caller as u32), name(call.callee)),
            };
            errors.push(LambdaError { span: call.span.clone(), message, hint: Some(RECURSION.to_owned()) });
        }
    }
}

/// Evaluates the constants and defaults, in the order of the text.
fn fill(shared: &mut Shared, definitions: Vec<(u32, Definition)>, errors: &mut Vec<LambdaError>) {
    let count = shared.names.len();
    shared.values = vec![None; count];
    shared.codes = vec![None; count];
    shared.mutates = vec![false; count];
    let mut uses = Vec::with_capacity(count);
    for (idx, definition) in &definitions {
        let code = match definition {
            Definition::Function(compiled) => {
                if let Some(place) = shared.codes.get_mut(*idx as usize) {
                    *place = Some(Arc::clone(&compiled.code));
                }
                &compiled.code
            }
            Definition::Constant(code) => code,
        };
        if let Some(place) = shared.mutates.get_mut(*idx as usize) {
            *place = code.mutates;
        }
        uses.push((*idx, Arc::clone(code)));
    }
    // As many rounds as there are names reach every use of a use.
    for _ in 0..count {
        for (idx, code) in &uses {
            let changes = code.globals.iter().any(|used| shared.mutates(*used));
            if let (true, Some(place)) = (changes, shared.mutates.get_mut(*idx as usize)) {
                *place = true;
            }
        }
    }
    let mut place = Arc::new(std::mem::take(shared));
    for (idx, definition) in definitions {
        let value = match definition {
            Definition::Constant(code) => evaluate(&place, &code),
            Definition::Function(compiled) => defaults(&place, &compiled).map(|defaults| {
                Value::Opaque(Arc::new(Closure { code: compiled.code, captured: Vec::new(), defaults }))
            }),
        };
        match value {
            Ok(value) => {
                if let Some(shared) = Arc::get_mut(&mut place)
                    && let Some(slot) = shared.values.get_mut(idx as usize)
                {
                    *slot = Some(value);
                }
            }
            Err(error) => errors.push(error),
        }
    }
    if let Ok(filled) = Arc::try_unwrap(place) {
        *shared = filled;
    }
}

pub(super) fn evaluate(shared: &Arc<Shared>, code: &Arc<Code>) -> Result<Value, LambdaError> {
    Machine::new(Limits::default()).run_for_elements(shared, code, &[], &[]).map_err(|stop| LambdaError {
        span: stop.span,
        message: stop.message,
        hint: Some("constants and defaults are computed when the job is read".to_owned()),
    })
}

pub(super) fn defaults(shared: &Arc<Shared>, compiled: &Compiled) -> Result<Vec<Value>, LambdaError> {
    compiled.outer_defaults.iter().map(|code| evaluate(shared, code)).collect()
}
