//! Functions as jobs name them: a lambda, a name of `[functions]`, a builtin.

use std::{ops::RangeInclusive, sync::Arc};

use smol_str::SmolStr;

use super::{
    EvalError, EvalErrorKind, LambdaError, Reducer,
    compile::{self, Compiler, did_you_mean, names},
    evaluate::callable::{self, Closure, downcast},
    growing::{self, Added},
    kernel,
    library::{self, Library},
    node::{Body, CallNode, Callee, Code, Kind, MethodRef, Node, Parameter, Parameters, Span},
    parse, primitive, record, reducer,
    shared::Shared,
};
use crate::model::Value;

/// A compiled lambda, library function or builtin. Cheap to clone, shared by all tasks.
#[derive(Debug, Clone)]
pub struct Function {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub source: Arc<str>,
    pub code: Arc<Code>,
    pub defaults: Vec<Value>,
    pub shared: Arc<Shared>,
    arity: usize,
    /// Parts of a record its first parameter is used for.
    pub record: record::Use,
    kernel: Result<(), String>,
    reducer: Reducer,
    is_difference: bool,
    added: Option<Added>,
}

impl Function {
    /// `source` is a lambda, or the name of a library function or builtin; it must accept a number of positional
    /// arguments within `arity`.
    pub fn compile(
        source: &str,
        library: &Library,
        arity: RangeInclusive<usize>,
    ) -> Result<Function, Vec<LambdaError>> {
        let shared = Arc::clone(&library.shared);
        let text = source.trim();
        let start = source.len() - source.trim_start().len();
        let whole = Span::from(start..start + text.len());
        let one = |message: String, hint: Option<String>| vec![LambdaError { span: whole.range(), message, hint }];
        if text.is_empty() {
            return Err(one("expected a lambda or the name of a function".to_owned(), None));
        }
        let (code, defaults) = match is_name(text) {
            true => named(text, whole, &shared, &arity).map_err(|(message, hint)| one(message, hint))?,
            false => lambda(source, &shared)?,
        };
        let fitting = arity.clone().rev().find(|count| code.parameters.accept(*count));
        let Some(count) = fitting else {
            let (message, hint) = wrong_arity(&code.parameters, &arity);
            return Err(one(message, hint));
        };
        let kernel = kernel::recognise(&code, &shared, count);
        Ok(Function {
            inner: Arc::new(Inner {
                source: source.into(),
                record: record::Use::of(&code),
                reducer: reducer::recognise(&code, &shared),
                is_difference: reducer::is_difference(&code),
                added: growing::recognise(&code, &shared),
                code,
                defaults,
                shared,
                arity: count,
                kernel,
            }),
        })
    }

    /// The text given to `compile`.
    pub fn source(&self) -> &str {
        &self.inner.source
    }

    /// How many arguments kstream passes: the most within the accepted range.
    pub fn arity(&self) -> usize {
        self.inner.arity
    }

    /// Whether chunks of fitting types run as column kernels; else why not ("calls re.match").
    pub fn native(&self) -> Result<(), String> {
        self.inner.kernel.clone()
    }

    /// The failure of a call whose result is none that its caller can use; it points at the whole function.
    pub fn wrong_result(&self, message: String) -> EvalError {
        EvalError {
            kind: EvalErrorKind::Type,
            message,
            span: self.inner.code.span.range(),
            in_library: self.inner.code.in_library,
            function: Some(Arc::clone(&self.inner.source)),
        }
    }

    /// A fold that is recognised, so that typed columns need no calls.
    pub fn reducer(&self) -> Reducer {
        self.inner.reducer
    }

    /// Whether it is `a - b`.
    pub fn is_difference(&self) -> bool {
        self.inner.is_difference
    }

    /// What it adds to the end of its first argument, if that is all it does.
    pub(super) fn added(&self) -> Option<Added> {
        self.inner.added
    }
}

/// `name` or `module.name`
fn is_name(text: &str) -> bool {
    text.split('.').all(|part| {
        !part.is_empty()
            && !part.starts_with(|c: char| c.is_ascii_digit())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    }) && text != "lambda"
}

type Mistake = (String, Option<String>);

fn named(
    name: &str,
    span: Span,
    shared: &Arc<Shared>,
    arity: &RangeInclusive<usize>,
) -> Result<(Arc<Code>, Vec<Value>), Mistake> {
    if let Some(global) = shared.names.get(name) {
        return match shared.value(global.index).and_then(downcast::<Closure>) {
            Some(closure) => Ok((Arc::clone(&closure.code), closure.defaults.clone())),
            None => Err((format!("`{name}` is no function"), Some(format!("write a lambda: `lambda x: {name}`")))),
        };
    }
    if let Some(builtin) = callable::find(name) {
        let (least, most) = callable::arity(name);
        let fits = |count: &usize| least <= *count && most.is_none_or(|most| *count <= most);
        let Some(count) = arity.clone().rev().find(fits) else {
            let takes = compile::describe(least, most);
            return Err((format!("`{name}` takes {takes}, kstream passes {}", passes(arity)), None));
        };
        return Ok((code(name, span, Callee::Builtin(builtin), 0, count), Vec::new()));
    }
    if let Some((of, method)) = name.split_once('.')
        && callable::unbound(of, method).is_some()
    {
        let count = (*arity.start()).max(1);
        let receiver = Node { span, kind: Kind::Local(0) };
        let on_str = primitive::method("str", method);
        let callee = Callee::Method(receiver, MethodRef { name: SmolStr::new(method), on_str });
        return Ok((code(name, span, callee, 1, count), Vec::new()));
    }
    let mut known: Vec<&str> = shared.names.keys().map(String::as_str).collect();
    known.extend(primitive::builtin_names());
    let head = name.split_once('.').map(|(head, _)| head);
    let hint = did_you_mean(name, &known).unwrap_or_else(|| match head {
        Some(head) => format!("write a lambda: `lambda {head}: {name}`"),
        None => "write a lambda, or define it in [functions]".to_owned(),
    });
    let hint = Some(hint);
    Err((format!("unknown function `{name}`"), hint))
}

/// A function of `count` parameters that passes them on, those from `first` as arguments.
fn code(name: &str, span: Span, callee: Callee, first: u32, count: usize) -> Arc<Code> {
    let positional = (0..count).map(|idx| Parameter { name: SmolStr::new(format!("x{idx}")), default: None });
    let arguments = (first..count as u32).map(|slot| Node { span, kind: Kind::Local(slot) });
    let call =
        CallNode { callee, positional: arguments.collect(), named: Box::default(), rest: None, named_rest: None };
    Arc::new(Code {
        name: SmolStr::new(name),
        span,
        parameters: Parameters { positional: positional.collect(), positional_only: count, ..Parameters::default() },
        slots: count as u32,
        captures: Box::default(),
        boxes: Box::default(),
        body: Body::Expression(Node { span, kind: Kind::Call(Box::new(call)) }),
        in_library: false,
        depth: 2,
        mutates: false,
        globals: Box::default(),
    })
}

fn lambda(source: &str, shared: &Arc<Shared>) -> Result<(Arc<Code>, Vec<Value>), Vec<LambdaError>> {
    let trimmed = source.trim_start();
    if trimmed.starts_with("def ") {
        let start = source.len() - trimmed.len();
        return Err(vec![LambdaError {
            span: start..start + 3,
            message: "expected a lambda or the name of a function".to_owned(),
            hint: Some("put the def into [functions] and give its name here".to_owned()),
        }]);
    }
    let parsed = parse::expression(source)?;
    let Some(tree) = compile::as_lambda(&parsed.tree) else {
        return Err(vec![no_lambda(&parsed)]);
    };
    let mut compiler = Compiler::new(&parsed.places, &shared.names, false);
    compiler.fields = shared.fields.clone();
    names::argument_names(&parsed.tree, &mut compiler.fields);
    let compiled = compiler.lambda(tree, parsed.tree.span);
    let mut errors = compiler.errors;
    if errors.is_empty() {
        match library::defaults(shared, &compiled) {
            Ok(defaults) => return Ok((compiled.code, defaults)),
            Err(error) => errors.push(error),
        }
    }
    errors.sort_by_key(|error| (error.span.start, error.span.end));
    errors.dedup();
    Err(errors)
}

fn no_lambda(parsed: &parse::Parsed<starlark_syntax::syntax::ast::AstExpr>) -> LambdaError {
    use starlark_syntax::syntax::ast::Expr;
    let span = parsed.places.range(parsed.tree.span);
    let hint = match &parsed.tree.node {
        Expr::Tuple(parts) if parts.first().is_some_and(|part| matches!(part.node, Expr::Lambda(_))) => {
            "put a tuple that a lambda gives in parentheses: `lambda x: (x, 1)`"
        }
        _ => "write `lambda x: ...`",
    };
    LambdaError { span, message: "expected a lambda or the name of a function".to_owned(), hint: Some(hint.to_owned()) }
}

fn passes(arity: &RangeInclusive<usize>) -> String {
    match (arity.start(), arity.end()) {
        (least, most) if least == most => least.to_string(),
        (least, most) => format!("{least} to {most}"),
    }
}

fn wrong_arity(parameters: &Parameters, arity: &RangeInclusive<usize>) -> Mistake {
    let most = parameters.rest.is_none().then_some(parameters.positional.len());
    let takes = compile::describe(parameters.required(), most);
    let hint = match parameters.keyword_only.iter().find(|p| p.default.is_none()) {
        Some(parameter) => Some(format!("give `{}` a default", parameter.name)),
        None if *arity.end() == 1 && parameters.required() == 2 => {
            Some("a pair is one argument: write `lambda kv: ...` with kv[0] and kv[1]".to_owned())
        }
        None if *arity.start() == 2 && most == Some(1) => Some("write `lambda a, b: ...`".to_owned()),
        None => None,
    };
    (format!("the function takes {takes}, kstream passes {}", passes(arity)), hint)
}
