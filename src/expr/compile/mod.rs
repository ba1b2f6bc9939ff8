//! Syntax tree to resolved tree: finds every mistake that can be seen without running.
//!
//! `names` and `scope` say where a name lives, `expression`, `call` and `statement` build the nodes, `check` knows what
//! type an expression certainly has.

mod call;
mod check;
mod expression;
pub mod names;
mod scope;
mod statement;

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

use smol_str::SmolStr;
use starlark_syntax::{
    codemap::Span as SourceSpan,
    syntax::ast::{AstExpr, AstParameter, AstStmt, Expr, LambdaP, Parameter as AstParam},
};

use self::scope::Scope;
use super::{
    LambdaError,
    node::{Body, Code, Node, Parameter, Parameters, Span},
    parse::Places,
    primitive,
};

/// What the compiler knows of a name of `[functions]`.
#[derive(Debug, Clone)]
pub struct GlobalName {
    pub index: u32,
    /// Fewest and most positional arguments, for a def.
    pub arity: Option<(usize, Option<usize>)>,
}

pub type GlobalNames = HashMap<String, GlobalName>;

/// A call of a name of `[functions]`, as seen in the text.
#[derive(Debug, Clone)]
pub struct GlobalCall {
    pub callee: u32,
    pub span: Range<usize>,
}

pub struct Compiler<'a> {
    places: &'a Places,
    globals: &'a GlobalNames,
    scopes: Vec<Scope>,
    in_library: bool,
    /// Names given to arguments anywhere: a struct may have functions in such fields.
    pub fields: HashSet<String>,
    pub errors: Vec<LambdaError>,
    pub calls: Vec<GlobalCall>,
}

/// A function and the nodes of its parameters' defaults, which belong to where it is created.
pub struct Compiled {
    pub code: Arc<Code>,
    pub defaults: Vec<Node>,
    /// The same for a function that stands outside of any other.
    pub outer_defaults: Vec<Arc<Code>>,
    /// Slots of the enclosing function that it captures.
    pub captured: Vec<u32>,
}

impl<'a> Compiler<'a> {
    pub fn new(places: &'a Places, globals: &'a GlobalNames, in_library: bool) -> Self {
        Compiler {
            places,
            globals,
            scopes: Vec::new(),
            in_library,
            fields: HashSet::new(),
            errors: Vec::new(),
            calls: Vec::new(),
        }
    }

    /// An expression that stands alone: a constant of `[functions]`, a default of a lambda.
    pub fn constant(&mut self, expr: &AstExpr) -> Arc<Code> {
        let mut shared = Default::default();
        names::shared_in_expression(expr, &mut shared);
        self.scopes.push(Scope::new("", shared));
        let body = Body::Expression(self.expression(expr));
        let span = self.span(expr.span);
        self.close("<constant>", span, Parameters::default(), body).code
    }

    pub fn lambda(&mut self, lambda: &LambdaP<starlark_syntax::syntax::ast::AstNoPayload>, at: SourceSpan) -> Compiled {
        let mut shared = Default::default();
        names::shared_in_expression(&lambda.body, &mut shared);
        let (defaults, outer_defaults) = self.defaults(&lambda.params);
        self.scopes.push(Scope::new("<lambda>", shared));
        let parameters = self.parameters(&lambda.params, &[]);
        let body = Body::Expression(self.expression(&lambda.body));
        let span = self.span(at);
        Compiled { defaults, outer_defaults, ..self.close("<lambda>", span, parameters, body) }
    }

    pub fn def(&mut self, name: &str, params: &[AstParameter], body: &AstStmt, at: SourceSpan) -> Compiled {
        let mut shared = Default::default();
        names::shared_in_statement(body, &mut shared);
        let (defaults, outer_defaults) = self.defaults(params);
        self.scopes.push(Scope::new(name, shared));
        let bound = names::bound(body);
        let parameters = self.parameters(params, &bound);
        if let Some(scope) = self.scopes.last_mut() {
            for local in &bound {
                let new = scope.find(local).is_none();
                let slot = scope.bind(local);
                if new && scope.shared.contains(local) {
                    scope.boxes.push(slot);
                }
            }
        }
        let body = Body::Block(self.block(body));
        let span = self.span(at);
        Compiled { defaults, outer_defaults, ..self.close(name, span, parameters, body) }
    }

    /// Takes the innermost scope off and makes its code.
    fn close(&mut self, name: &str, span: Span, parameters: Parameters, body: Body) -> Compiled {
        let scope = self.scopes.pop().unwrap_or_default();
        if let Some(outer) = self.scopes.last_mut() {
            outer.mutates |= scope.mutates;
            outer.globals.extend(&scope.globals);
        }
        let code = Code {
            name: SmolStr::new(name),
            span,
            parameters,
            slots: scope.slots,
            captures: scope.captures.iter().map(|(_, own)| *own).collect(),
            boxes: scope.boxes.into(),
            body,
            in_library: self.in_library,
            depth: scope.depth,
            mutates: scope.mutates,
            globals: scope.globals.into_iter().collect(),
        };
        let captured = scope.captures.into_iter().map(|(outer, _)| outer).collect();
        Compiled { code: Arc::new(code), defaults: Vec::new(), outer_defaults: Vec::new(), captured }
    }

    fn defaults(&mut self, params: &[AstParameter]) -> (Vec<Node>, Vec<Arc<Code>>) {
        let mut defaults = (Vec::new(), Vec::new());
        for param in params {
            if let AstParam::Normal(_, _, Some(default)) = &param.node {
                match self.scopes.is_empty() {
                    false => defaults.0.push(self.expression(default)),
                    true => defaults.1.push(self.constant(default)),
                }
            }
        }
        defaults
    }

    /// Binds the parameters to the first slots of the innermost scope. `bound` are names the body assigns to.
    fn parameters(&mut self, params: &[AstParameter], bound: &[String]) -> Parameters {
        let mut parameters = Parameters::default();
        let mut default = 0;
        let mut after_star = false;
        let mut rest = None;
        let mut named_rest = None;
        for param in params {
            match &param.node {
                AstParam::Slash => parameters.positional_only = parameters.positional.len(),
                AstParam::NoArgs => after_star = true,
                AstParam::Args(name, _) => {
                    after_star = true;
                    rest = Some(name);
                }
                AstParam::KwArgs(name, _) => named_rest = Some(name),
                AstParam::Normal(name, _, value) => {
                    let idx = value.as_ref().map(|_| default);
                    default += u32::from(value.is_some());
                    let parameter = Parameter { name: SmolStr::new(&name.ident), default: idx };
                    match after_star {
                        true => parameters.keyword_only.push(parameter),
                        false => parameters.positional.push(parameter),
                    }
                }
            }
        }
        let Some(scope) = self.scopes.last_mut() else { return parameters };
        let mut bind = |name: &str| {
            let slot = scope.bind(name);
            if scope.shared.contains(name) && bound.iter().any(|b| b == name) {
                scope.boxes.push(slot);
            }
            slot
        };
        for parameter in parameters.positional.iter().chain(&parameters.keyword_only) {
            bind(&parameter.name);
        }
        parameters.rest = rest.map(|name| bind(&name.ident));
        parameters.named_rest = named_rest.map(|name| bind(&name.ident));
        parameters
    }

    fn span(&self, span: SourceSpan) -> Span {
        self.places.range(span).into()
    }

    fn error(&mut self, span: SourceSpan, message: impl Into<String>, hint: Option<String>) {
        let span = self.places.range(span);
        self.errors.push(LambdaError { span, message: message.into(), hint });
    }

    fn error_at(&mut self, span: Span, message: impl Into<String>, hint: Option<&str>) {
        self.errors.push(LambdaError { span: span.range(), message: message.into(), hint: hint.map(str::to_owned) });
    }

    fn scope(&mut self) -> Option<&mut Scope> {
        self.scopes.last_mut()
    }

    fn unknown_name(&mut self, span: SourceSpan, name: &str) {
        let hint = match name {
            "print" => Some("lambdas have no output: add a pprint step".to_owned()),
            "set" | "frozenset" => Some("there are no sets: write a dict, {x: True for x in xs}".to_owned()),
            "iter" | "next" => Some("take an element by its index, xs[0]".to_owned()),
            "datetime" => Some("times are milliseconds: time.parse(text), time.format(ms)".to_owned()),
            "object" | "Exception" | "ValueError" | "self" => {
                Some("there are no classes: write struct(...)".to_owned())
            }
            "np" | "numpy" | "pd" | "pandas" => {
                Some("there are no packages; sum, min, max, sorted, math are there".to_owned())
            }
            "random" => Some("the same records give the same result: there is no chance; hash(x) may do".to_owned()),
            "os" | "sys" | "open" => Some("lambdas do no input or output".to_owned()),
            "input" => Some("a function gets its element as its parameter".to_owned()),
            "Math" => Some("write `math`".to_owned()),
            "JSON" => Some("write `json.loads(x)` or `json.dumps(x)`".to_owned()),
            "nil" | "undefined" | "NULL" | "NONE" => Some("write `None`".to_owned()),
            "TRUE" => Some("write `True`".to_owned()),
            "FALSE" => Some("write `False`".to_owned()),
            "operator" => Some("write the operator in a lambda: `lambda a, b: a + b`".to_owned()),
            "collections" | "Counter" | "defaultdict" | "OrderedDict" => {
                Some("a dict does it, it keeps its order: `d[k] = d.get(k, 0) + 1` in a def of [functions]".to_owned())
            }
            "functools" | "reduce" => Some("write a def with a for loop in [functions]".to_owned()),
            "unicode" | "basestring" => Some("write str".to_owned()),
            "long" => Some("write int".to_owned()),
            "xrange" => Some("write range".to_owned()),
            "true" | "false" | "none" | "null" => {
                let python = match name {
                    "true" => "True",
                    "false" => "False",
                    _ => "None",
                };
                Some(format!("write `{python}`"))
            }
            _ => {
                let mut known: Vec<&str> = self.globals.keys().map(String::as_str).collect();
                known.extend(self.scopes.iter().flat_map(Scope::names));
                known.extend(primitive::builtin_names().into_iter().filter(|name| !name.contains('.')));
                known.extend(MODULES);
                did_you_mean(name, &known)
            }
        };
        self.error(span, format!("unknown name `{name}`"), hint);
    }
}

pub use self::call::{RECURSION, describe};

/// Fewest and most positional arguments, where no keyword-only parameter is required.
pub fn arity(params: &[AstParameter]) -> Option<(usize, Option<usize>)> {
    let (mut least, mut most, mut rest) = (0, 0, false);
    for param in params {
        match &param.node {
            AstParam::Normal(_, _, default) => {
                most += 1;
                least += usize::from(default.is_none());
            }
            AstParam::Args(..) | AstParam::KwArgs(..) => rest = true,
            AstParam::Slash | AstParam::NoArgs => {}
        }
    }
    Some((least, (!rest).then_some(most)))
}

pub const MODULES: [&str; 4] = ["json", "re", "math", "time"];

/// "did you mean `word`?" if one of the known names is close: one letter off, or alike from the start.
pub fn did_you_mean(name: &str, known: &[&str]) -> Option<String> {
    let likeness = |candidate: &str| match strsim::damerau_levenshtein(name, candidate) {
        1 => 1.0 + strsim::jaro_winkler(name, candidate),
        _ => strsim::jaro_winkler(name, candidate),
    };
    let mut known: Vec<(f64, &str)> = known.iter().map(|candidate| (likeness(candidate), *candidate)).collect();
    known.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let (likeness, closest) = known.into_iter().find(|(_, candidate)| *candidate != name)?;
    (likeness >= 0.85 && name.len() > 2).then(|| format!("did you mean `{closest}`?"))
}

/// The lambda of a parsed expression.
pub fn as_lambda(expr: &AstExpr) -> Option<&LambdaP<starlark_syntax::syntax::ast::AstNoPayload>> {
    match &expr.node {
        Expr::Lambda(lambda) => Some(lambda),
        _ => None,
    }
}
