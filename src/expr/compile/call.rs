//! Calls: what is called, and whether the arguments can fit.

use smol_str::SmolStr;
use starlark_syntax::{
    codemap::Span as SourceSpan,
    syntax::ast::{Argument, AstExpr, AstNoPayload, CallArgsP, Expr},
};

use super::{Compiled, Compiler, GlobalCall, MODULES, check, did_you_mean};
use crate::{
    expr::{
        evaluate::{callable, cell},
        node::{CallNode, Callee, ClosureNode, Kind, MethodRef, Node},
        primitive,
    },
    model::Value,
};

type Arguments = CallArgsP<AstNoPayload>;

impl Compiler<'_> {
    pub(super) fn call(&mut self, callee: &AstExpr, arguments: &Arguments, span: SourceSpan) -> Kind {
        let callee = self.callee(callee, arguments, span);
        let mut call =
            CallNode { callee, positional: Box::default(), named: Box::default(), rest: None, named_rest: None };
        let mut positional = Vec::new();
        let mut named = Vec::new();
        for argument in &arguments.args {
            match &argument.node {
                Argument::Positional(expr) => positional.push(self.expression(expr)),
                Argument::Named(name, expr) => named.push((SmolStr::new(&name.node), self.expression(expr))),
                Argument::Args(expr) => call.rest = Some(self.expression(expr)),
                Argument::KwArgs(expr) => call.named_rest = Some(self.expression(expr)),
            }
        }
        call.positional = positional.into();
        call.named = named.into();
        self.check_call(&call);
        Kind::Call(Box::new(call))
    }

    fn callee(&mut self, callee: &AstExpr, arguments: &Arguments, span: SourceSpan) -> Callee {
        match &callee.node {
            Expr::Dot(of, name) => match self.namespace(of) {
                Some(module) if MODULES.contains(&module) => match callable::find(&format!("{module}.{}", name.node)) {
                    Some(builtin) => Callee::Builtin(builtin),
                    None => {
                        self.unknown_member(module, &name.node, name.span);
                        Callee::Value(self.expression_none(callee))
                    }
                },
                Some(_) => Callee::Value(self.expression(callee)),
                None => {
                    let mistakes = self.errors.len();
                    let of_a_name = matches!(of.node, Expr::Identifier(_));
                    let of = self.expression(of);
                    // Of a name that is unknown nobody knows the methods.
                    if mistakes == self.errors.len() || !of_a_name {
                        self.check_method(&name.node, name.span);
                    }
                    if cell::changes(&name.node)
                        && let Some(scope) = self.scope()
                    {
                        scope.mutates = true;
                    }
                    let on_str = primitive::method("str", &name.node);
                    Callee::Method(of, MethodRef { name: SmolStr::new(&name.node), on_str })
                }
            },
            Expr::Identifier(name) => {
                if self.is_free(&name.ident)
                    && let Some(builtin) = callable::find(&name.ident)
                {
                    self.check_builtin(&builtin.name, arguments, span);
                    return Callee::Builtin(builtin);
                }
                if self.scopes.iter().any(|scope| scope.name == name.ident) && !self.globals.contains_key(&name.ident) {
                    self.error(span, format!("`{}` calls itself", name.ident), Some(RECURSION.to_owned()));
                }
                let node = self.expression(callee);
                if let Kind::Global(index) = node.kind {
                    self.calls.push(GlobalCall { callee: index, span: self.places.range(span) });
                    self.check_global(&name.ident, arguments, span);
                }
                Callee::Value(node)
            }
            _ => Callee::Value(self.expression(callee)),
        }
    }

    fn expression_none(&self, at: &AstExpr) -> Node {
        Node { span: self.span(at.span), kind: Kind::Constant(Value::None) }
    }

    fn check_method(&mut self, name: &str, at: SourceSpan) {
        if primitive::any_method(name) || cell::changes(name) || cell::is_method(name) || self.fields.contains(name) {
            return;
        }
        let hint = match name {
            "iteritems" | "entries" => Some("write `d.items()`".to_owned()),
            "has_key" | "containsKey" | "contains" | "includes" => Some("write `key in d`".to_owned()),
            "length" | "size" => Some("write `len(x)`".to_owned()),
            "toLowerCase" => Some("write `x.lower()`".to_owned()),
            "toUpperCase" => Some("write `x.upper()`".to_owned()),
            "trim" => Some("write `x.strip()`".to_owned()),
            "substring" | "substr" | "slice" => Some("write `x[start:stop]`".to_owned()),
            "charAt" => Some("write `x[idx]`".to_owned()),
            "push" | "add" => Some("write `xs.append(x)`".to_owned()),
            "toString" => Some("write `str(x)`".to_owned()),
            "toInt" | "intValue" => Some("write `int(x)`".to_owned()),
            "isEmpty" => Some("write `not x`, or `len(x) == 0`".to_owned()),
            "equals" => Some("write `a == b`".to_owned()),
            "map" | "filter" | "flatMap" | "mapValues" | "reduceByKey" | "groupByKey" | "collect" | "foreach" => {
                Some("a function gets one element; a stream's operators are steps, `[[steps]]`".to_owned())
            }
            "sortBy" | "sortByKey" | "distinct" | "take" | "top" | "takeOrdered" | "first" | "reduce" | "union"
            | "coalesce" | "repartition" | "zipWithIndex" | "countByValue" | "foreachPartition" | "mapPartitions" => {
                let hint =
                    "a batch is a list here, no RDD; sort_by, take, distinct and the like are steps, `[[steps]]`";
                Some(hint.to_owned())
            }
            "decode" => Some("a str is text already; a bytes value has decode()".to_owned()),
            _ => did_you_mean(name, &primitive::method_names()),
        };
        self.error(at, format!("no type has a method `{name}`"), hint);
    }

    fn check_builtin(&mut self, name: &str, arguments: &Arguments, span: SourceSpan) {
        let Some((positional, named)) = counts(arguments) else { return };
        let (least, most) = callable::arity(name);
        if most.is_some_and(|most| positional > most) || positional + named < least {
            let expected = describe(least, most);
            self.error(span, format!("`{name}` takes {expected}, not {}", positional + named), None);
        }
    }

    fn check_global(&mut self, name: &str, arguments: &Arguments, span: SourceSpan) {
        let Some((positional, named)) = counts(arguments) else { return };
        let Some((least, most)) = self.globals.get(name).and_then(|global| global.arity) else { return };
        if most.is_some_and(|most| positional + named > most) || positional + named < least {
            let expected = describe(least, most);
            self.error(span, format!("`{name}` takes {expected}, not {}", positional + named), None);
        }
    }

    fn check_call(&mut self, call: &CallNode) {
        let Callee::Builtin(builtin) = &call.callee else { return };
        const OVER: [&str; 9] = ["list", "tuple", "sorted", "enumerate", "reversed", "zip", "sum", "any", "all"];
        if OVER.contains(&builtin.name.as_str()) {
            for argument in &call.positional[..call.positional.len().min(1)] {
                self.check_iterable(argument);
            }
        }
        if let (true, Some(Node { span, kind: Kind::Constant(Value::Str(pattern)) })) =
            (primitive::takes_a_pattern(&builtin.name), call.positional.first())
            && let Err(fault) = primitive::check_pattern(pattern)
        {
            self.error_at(*span, fault.message, None);
        }
        if builtin.name == "sum"
            && let Some(Node { span, kind: Kind::ListComprehension(inner) }) = call.positional.first()
            && check::type_of(&inner.value) == Some("bool")
        {
            self.error_at(*span, "bool is no number", Some("write `len([x for x in xs if condition])`"));
        }
    }

    pub(super) fn closure(compiled: Compiled) -> Kind {
        Kind::Closure(Box::new(ClosureNode {
            code: compiled.code,
            defaults: compiled.defaults.into(),
            captured: compiled.captured.into(),
        }))
    }
}

pub const RECURSION: &str = "there is no recursion: write a for loop over a range that is long enough";

/// Positional and named arguments, if all are seen in the text.
fn counts(arguments: &Arguments) -> Option<(usize, usize)> {
    let mut counts = (0, 0);
    for argument in &arguments.args {
        match &argument.node {
            Argument::Positional(_) => counts.0 += 1,
            Argument::Named(..) => counts.1 += 1,
            Argument::Args(_) | Argument::KwArgs(_) => return None,
        }
    }
    Some(counts)
}

/// "2 arguments", "1 to 3 arguments", "at least 1 argument"
pub fn describe(least: usize, most: Option<usize>) -> String {
    let plural = |n: usize| if n == 1 { "argument" } else { "arguments" };
    match most {
        Some(most) if most == least => format!("{most} {}", plural(most)),
        Some(most) => format!("{least} to {most} arguments"),
        None => format!("at least {least} {}", plural(least)),
    }
}
