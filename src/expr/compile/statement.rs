//! Statements of a def.

use starlark_syntax::syntax::ast::{AssignOp, AssignTarget, AstAssignTarget, AstLiteral, AstStmt, Expr, Stmt};

use super::{Compiler, check};
use crate::expr::{
    node::{Kind, Node, Statement, StatementKind, Target, TargetKind},
    primitive::BinaryOp,
};

impl Compiler<'_> {
    /// The statements of a suite, in a row.
    pub(super) fn block(&mut self, body: &AstStmt) -> Box<[Statement]> {
        let mut statements = Vec::new();
        self.flatten(body, &mut statements);
        statements.into()
    }

    fn flatten(&mut self, statement: &AstStmt, into: &mut Vec<Statement>) {
        if let Stmt::Statements(inner) = &statement.node {
            inner.iter().for_each(|statement| self.flatten(statement, into));
            return;
        }
        if let Some(scope) = self.scope() {
            scope.level += 1;
            scope.depth = scope.depth.max(scope.level);
        }
        let kind = self.statement(statement);
        if let Some(scope) = self.scope() {
            scope.level -= 1;
        }
        into.push(Statement { span: self.span(statement.span), kind });
    }

    fn statement(&mut self, statement: &AstStmt) -> StatementKind {
        match &statement.node {
            Stmt::Break => StatementKind::Break,
            Stmt::Continue => StatementKind::Continue,
            Stmt::Pass => StatementKind::Pass,
            Stmt::Return(value) => StatementKind::Return(value.as_ref().map(|value| self.expression(value))),
            Stmt::Expression(expr) => match &expr.node {
                Expr::Literal(AstLiteral::Ellipsis | AstLiteral::String(_)) => StatementKind::Pass,
                _ => StatementKind::Expression(self.expression(expr)),
            },
            Stmt::Assign(assign) => {
                let value = self.expression(&assign.rhs);
                StatementKind::Assign(self.target(&assign.lhs), value)
            }
            Stmt::AssignModify(target, op, value) => {
                let value = self.expression(value);
                self.augment(target, *op, value)
            }
            Stmt::If(condition, then) => {
                StatementKind::If(self.expression(condition), self.block(then), Box::default())
            }
            Stmt::IfElse(condition, branches) => {
                StatementKind::If(self.expression(condition), self.block(&branches.0), self.block(&branches.1))
            }
            Stmt::For(each) => {
                let over = self.iterable(&each.over);
                StatementKind::For(self.target(&each.var), over, self.block(&each.body))
            }
            Stmt::Def(def) => {
                let span = self.span(statement.span);
                let compiled = self.def(&def.name.ident, &def.params, &def.body, statement.span);
                let target = self.local(&def.name.ident);
                let value = Node { span, kind: Self::closure(compiled) };
                StatementKind::Assign(Target { span, kind: target }, value)
            }
            Stmt::Load(_) => {
                self.error(
                    statement.span,
                    "`load` is not known",
                    Some("all functions stand in [functions]".to_owned()),
                );
                StatementKind::Pass
            }
            Stmt::Statements(_) => StatementKind::Pass,
        }
    }

    fn local(&mut self, name: &str) -> TargetKind {
        TargetKind::Local(self.scope().map_or(0, |scope| scope.bind(name)))
    }

    /// The variable of a comprehension's `for`; `boxes` gets the slots that closures share.
    pub(super) fn bind_clause(&mut self, target: &AstAssignTarget, boxes: &mut Vec<u32>) -> Target {
        let mut names = Vec::new();
        super::names::bind_target(target, &mut names);
        if let Some(scope) = self.scope() {
            for name in &names {
                let slot = scope.bind(name);
                if scope.shared.contains(name) && !boxes.contains(&slot) {
                    boxes.push(slot);
                }
            }
        }
        self.target(target)
    }

    pub(super) fn target(&mut self, target: &AstAssignTarget) -> Target {
        let span = self.span(target.span);
        let kind = match &target.node {
            AssignTarget::Identifier(name) => self.local(&name.ident),
            AssignTarget::Tuple(targets) => {
                TargetKind::Tuple(targets.iter().map(|target| self.target(target)).collect())
            }
            AssignTarget::Index(pair) => {
                if let Some(scope) = self.scope() {
                    scope.mutates = true;
                }
                TargetKind::Index(Box::new((self.expression(&pair.0), self.expression(&pair.1))))
            }
            AssignTarget::Dot(_, name) => {
                let hint = "build a new struct, or use a dict".to_owned();
                self.error(name.span, "fields cannot be assigned to", Some(hint));
                TargetKind::Tuple(Box::default())
            }
        };
        Target { span, kind }
    }

    fn augment(&mut self, target: &AstAssignTarget, op: AssignOp, value: Node) -> StatementKind {
        let op = match op {
            AssignOp::Add => BinaryOp::Add,
            AssignOp::Subtract => BinaryOp::Subtract,
            AssignOp::Multiply => BinaryOp::Multiply,
            AssignOp::Divide => BinaryOp::Divide,
            AssignOp::FloorDivide => BinaryOp::FloorDivide,
            AssignOp::Percent => BinaryOp::Percent,
            AssignOp::BitAnd => BinaryOp::BitAnd,
            AssignOp::BitOr => BinaryOp::BitOr,
            AssignOp::BitXor => BinaryOp::BitXor,
            AssignOp::LeftShift => BinaryOp::LeftShift,
            AssignOp::RightShift => BinaryOp::RightShift,
        };
        if check::type_of(&value) == Some("bool")
            && !matches!(op, BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor)
        {
            self.error_at(value.span, "bool is no number", Some("write `int(x)`, or `if x: ...`"));
        }
        // On a list or dict, these change it in place, for every name it has.
        let may_change = matches!(op, BinaryOp::Add | BinaryOp::Multiply | BinaryOp::BitOr)
            && !matches!(check::type_of(&value), Some("int" | "float" | "str" | "bool"))
            || op == BinaryOp::Multiply && !matches!(value.kind, Kind::Constant(crate::model::Value::Float(_)));
        if may_change && let Some(scope) = self.scope() {
            scope.mutates = true;
        }
        StatementKind::Augment(self.target(target), op, value)
    }
}
